/** Dead letters as answers show them, and filters as requests name them. */
import type { Instruments } from '../../core/instruments.ts'
import type { DeadLetter, LetterFilter } from '../../store/operator-store.ts'
import type { LegView } from '../contract.ts'
import { formatInstant } from '../instant.ts'
import { viewTradeDetail } from '../trade-view.ts'
import type { FilterFields, LetterView } from './contract.ts'

export function viewLetter(letter: DeadLetter, instruments: Instruments): LetterView {
  const { legs, epoch, symbol } = viewTradeDetail(letter.stored, instruments)
  return {
    trade_id: letter.stored.trade.id,
    symbol,
    kind: letter.kind,
    code: letter.code,
    last_error: letter.lastError,
    attempts: letter.attempts,
    rollback: letter.rollback,
    epoch,
    legs,
    owed:
      letter.kind === 'fee' && letter.status !== 'resolved'
        ? legs.filter(({ leg }) => leg === 'fee').map(viewOwed)
        : [],
    first_failed_at: formatInstant(letter.firstFailedAtMs),
    last_failed_at: formatInstant(letter.lastFailedAtMs),
    status: letter.status,
    resolution: letter.resolution,
    resolved_by: letter.resolvedBy,
    resolved_at: letter.resolvedAtMs === null ? null : formatInstant(letter.resolvedAtMs),
    note: letter.note,
  }
}

/** A rebate is a debit of the fee account: what it collects is below zero. */
function viewOwed({ leg, user_id, currency, amount, type }: LegView): LetterView['owed'][number] {
  return { leg, user_id, currency, amount: type === 'credit' ? amount : `-${amount}` }
}

export function filterOf({ kind, code, status, rollback }: FilterFields): LetterFilter {
  const values = (list: string | undefined): readonly string[] => list?.split(',') ?? []
  return { kinds: values(kind), codes: values(code), statuses: values(status), rollbacks: values(rollback) }
}
