/** Answers, stored views and outcomes of the model in one form, so that they can be compared: a line of text. */
import assert from 'node:assert/strict'
import type { KeyRecord, Outcome, Shortfall } from '../../../src/wallet/wallet.ts'
import { type KeyView, units } from './books.ts'
import type { Said } from './wire.ts'

export interface Refused {
  readonly code: string
  readonly currency: string
  readonly available: bigint | null
  readonly required: bigint | null
}

interface RefusedTexts {
  readonly code: string
  readonly currency?: string | null
  readonly available?: string | null
  readonly required?: string | null
}

export function refusedOf({ code, currency, available, required }: RefusedTexts): Refused {
  const amount = (text: string | null | undefined): bigint | null => (typeof text === 'string' ? units(text) : null)
  return { code, currency: currency ?? '', available: amount(available), required: amount(required) }
}

function refusal({ code, currency, available, required }: Refused): string {
  return available === null ? `refused ${code}` : `refused ${code} ${currency} ${available} of ${required}`
}

/** What a client was told. */
export function answerOf(said: Said): string {
  if (said.is === 'refused') return refusal(refusedOf(said))
  const { status, balance_after, amount, remaining } = said.body
  if (typeof balance_after === 'string') return `applied, then ${units(balance_after)}`
  if (typeof remaining === 'string') return `applied, ${units(remaining)} of ${units(String(amount))}`
  return status === 'settled' ? 'applied' : String(status)
}

/** What the first call of a key was told, as the books have it. */
export function answerOfView({ type, balance_after, amount, remaining, problem }: KeyView): string {
  if (problem !== undefined) return refusal(refusedOf(problem))
  if (balance_after !== undefined) return `applied, then ${units(balance_after)}`
  if (type === 'settlement') return 'applied'
  assert.ok(amount !== undefined && remaining !== undefined)
  return `applied, ${units(type === 'hold' ? amount : remaining)} of ${units(amount)}`
}

/** What the model answers. */
export function answerOfOutcome(outcome: Outcome): string {
  if (outcome.outcome === 'refused') return refusal(ofShortfall(outcome.code, outcome.amounts ?? null))
  if (outcome.outcome !== 'applied') return `${outcome.outcome} ${outcome.code}`
  const { done } = outcome
  if (typeof done !== 'object' || done === null) return 'applied'
  if ('balanceAfter' in done) return `applied, then ${String(done.balanceAfter)}`
  if ('remaining' in done && 'amount' in done) return `applied, ${String(done.remaining)} of ${String(done.amount)}`
  return 'status' in done ? String(done.status) : 'applied'
}

function ofShortfall(code: string, amounts: Shortfall | null): Refused {
  return {
    code,
    currency: amounts?.currency ?? '',
    available: amounts?.available ?? null,
    required: amounts?.required ?? null,
  }
}

/** All that a key's view says but for its times and the words of its refusal. */
export function viewInShort({ type, status, trade_id, user_id, currency, amount, reason, ...rest }: KeyView): object {
  const { hold, remaining, balance_after, problem } = rest
  return {
    ...{ type, status, trade_id, user_id, currency, reason, hold },
    amount: amount === undefined ? undefined : units(amount),
    remaining: remaining === undefined ? undefined : units(remaining),
    balance_after: balance_after === undefined ? undefined : units(balance_after),
    refused: problem === undefined ? undefined : refusal(refusedOf(problem)),
  }
}

export function recordInShort(record: KeyRecord): object {
  const { kind, status, tradeId, movement, balanceAfter, hold, held, refusal: refused } = record
  return {
    ...{ type: kind, status, trade_id: tradeId },
    user_id: movement?.userId ?? held?.userId,
    currency: movement?.currency ?? held?.currency,
    reason: movement?.reason,
    hold: movement?.hold ?? hold ?? undefined,
    amount: movement?.amount ?? held?.amount,
    remaining: held?.remaining,
    balance_after: balanceAfter ?? undefined,
    refused: refused === null ? undefined : refusal(ofShortfall(refused.code, refused.amounts)),
  }
}
