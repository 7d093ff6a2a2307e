/** From the wallet's outcomes to the protocol's JSON. */
import type { FastifyBaseLogger } from 'fastify'
import { formatDecimal } from '../../core/money.ts'
import type { HoldState, Operation, OperationDone, Outcome, Shortfall } from '../../wallet/wallet.ts'
import type { Problem } from '../contract.ts'
import { formatInstant } from '../instant.ts'
import { knownCode, problemOf } from '../problem.ts'
import type { HoldView, OperationView } from './contract.ts'
import { type Assets, scaleOf } from './reading.ts'

export function viewOperation(
  { key, type, userId, currency, amount }: Operation,
  { done, replayed }: Outcome<OperationDone> & { readonly outcome: 'applied' },
  scale: number,
): OperationView {
  return {
    key,
    type,
    user_id: userId,
    currency,
    amount: formatDecimal(amount, scale),
    status: 'applied',
    balance_after: formatDecimal(done.balanceAfter, scale),
    applied_at: formatInstant(done.appliedAtMs),
    replayed,
  }
}

/** @param key of the hold. */
export function viewHold(
  key: string,
  { done, replayed }: Outcome<HoldState> & { readonly outcome: 'applied' },
  assets: Assets,
): HoldView {
  const { userId, currency, amount, remaining } = done
  const scale = scaleOf(assets, currency)
  return {
    key,
    user_id: userId,
    currency,
    amount: formatDecimal(amount, scale),
    remaining: formatDecimal(remaining, scale),
    status: remaining === 0n ? 'closed' : 'open',
    replayed,
  }
}

export type NotApplied = Exclude<Outcome, { readonly outcome: 'applied' }>

export function problemOfOutcome(outcome: NotApplied, assets: Assets, log: FastifyBaseLogger): Problem {
  switch (outcome.outcome) {
    case 'refused':
      return refusalOf(outcome.code, outcome.detail, outcome.amounts ?? null, assets)
    case 'fault':
      return problemOf(knownCode(outcome.code) ?? 'IDEMPOTENCY_KEY_REUSED', outcome.detail)
    case 'deferred':
      return problemOf('RATE_LIMITED', 'the call was not taken')
    case 'unanswered':
      // What the wallet ran into may tell of the inside: it is for the log alone.
      log.error({ code: outcome.code, detail: outcome.detail }, 'wallet call without an answer')
      return problemOf('INTERNAL', 'whether the call was done is not known; repeat it under its key')
  }
}

export function refusalOf(code: string, detail: string, shortfall: Shortfall | null, assets: Assets): Problem {
  const known = knownCode(code)
  if (known === null) return problemOf('INTERNAL', `refused with the unknown code ${code}`)
  if (shortfall === null) return problemOf(known, detail)
  const { currency, available, required } = shortfall
  const scale = scaleOf(assets, currency)
  return problemOf(known, detail, {
    available: formatDecimal(available, scale),
    required: formatDecimal(required, scale),
    currency,
  })
}
