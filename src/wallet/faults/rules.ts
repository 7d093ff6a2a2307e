/**
 * Faults of a wallet, by rule: which call goes wrong, and how. Pure; what a fault does to a connection is the server's to
 * act out (docs/faults.md).
 */

export const CALLS = ['apply', 'reverse', 'settle', 'hold', 'release', 'batch'] as const
export const LEGS = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee', 'settlement'] as const

/**
 * `reverse`: also the opposite operation that undoes a leg at level 0. `batch`: a whole call of many, which has no key of
 * its own; the calls in it are looked at one by one as well.
 */
export type CallKind = (typeof CALLS)[number]
export type LegName = (typeof LEGS)[number]

/** Both ends included; `to` null: and all above. */
export interface Range {
  readonly from: number
  readonly to: number | null
}

/** A moment since the script began: the so-manieth call, or milliseconds. */
export interface Moment {
  readonly unit: 'call' | 'ms'
  readonly value: number
}

/** All that is not null has to hold. */
export interface FaultMatch {
  readonly calls: readonly CallKind[] | null
  readonly tradeId: string | null
  readonly legs: readonly LegName[] | null
  readonly key: { readonly text: string; readonly isPrefix: boolean } | null
  readonly attempts: readonly Range[] | null
  /** A share of what else would match, from 0 to 100; drawn from the seed by rule, call, key and attempt. */
  readonly percent: number | null
  readonly seed: number
  readonly from: Moment | null
  /** The last call of all, or the time before which it must be. */
  readonly until: Moment | null
  /** How often the rule applies at most. */
  readonly times: number | null
}

/** Before the call has its effect (which it then never has), or after. */
export type When = 'before' | 'after'

export type FaultAction =
  | { readonly fault: 'refuse'; readonly code: string }
  | {
      readonly fault: 'status'
      readonly status: number
      readonly when: When
      readonly body: 'problem' | 'html' | 'none'
      /** Of the problem; null: one that fits the status. */
      readonly code: string | null
    }
  | { readonly fault: 'no_answer'; readonly when: When }
  | { readonly fault: 'cut'; readonly when: When | 'within' }
  | { readonly fault: 'garbage'; readonly what: Garbage; readonly when: When }
  | { readonly fault: 'slow'; readonly ms: number; readonly when: When }
  | {
      readonly fault: 'retry_after'
      readonly status: 429 | 503
      readonly seconds: number
      readonly as: 'seconds' | 'date' | 'nonsense'
      readonly when: When
    }
  /** `ms` null: only when the reversal of its key has been handled. */
  | { readonly fault: 'late'; readonly ms: number | null; readonly answer: 'none' | 'cut' | 'gateway_timeout' }
  | { readonly fault: 'unauthorized'; readonly status: 401 | 403 }
  | { readonly fault: 'close_port'; readonly ms: number }

export const GARBAGE = ['bytes', 'html', 'other_key', 'other_account', 'other_amount', 'too_large'] as const
export type Garbage = (typeof GARBAGE)[number]

export interface FaultRule {
  readonly match: FaultMatch
  readonly action: FaultAction
}

/** A call as rules see it. `key` is empty for a whole call of many. */
export interface WalletCall {
  readonly call: CallKind
  readonly key: string
  readonly tradeId: string | null
  readonly leg: LegName | null
}

/** A call with what has been counted: its attempt under its key, and how many calls there were up to it. */
export interface CountedCall extends WalletCall {
  readonly attempt: number
  readonly count: number
  readonly sinceStartMs: number
}

const KEY =
  /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):[0-9]+(?::(buyer-debit|buyer-credit|seller-debit|seller-credit|fee))?(:undo)?$/

/** What a key of Legwork's tells (wallet-protocol.md, "Keys that Legwork uses"); of any other only what the call says. */
export function callOf(kind: CallKind, key: string, tradeId: string | null): WalletCall {
  const [, ofKey, leg, undo] = KEY.exec(key) ?? []
  return {
    call: kind === 'apply' && undo !== undefined ? 'reverse' : kind,
    key,
    tradeId: tradeId ?? ofKey ?? null,
    leg: (leg as LegName | undefined) ?? (ofKey === undefined && kind !== 'settle' ? null : 'settlement'),
  }
}

/** @param timesSoFar how often the rule has applied. */
export function matches({ match }: FaultRule, index: number, call: CountedCall, timesSoFar: number): boolean {
  const { calls, tradeId, legs, key, attempts, percent, seed, from, until, times } = match
  // A rule that names no call means calls that move money; a whole call of many would count each of them twice.
  if (calls === null ? call.call === 'batch' : !calls.includes(call.call)) return false
  if (tradeId !== null && call.tradeId !== tradeId) return false
  if (legs !== null && (call.leg === null || !legs.includes(call.leg))) return false
  if (key !== null && (key.isPrefix ? !call.key.startsWith(key.text) : call.key !== key.text)) return false
  if (attempts !== null && !attempts.some(range => isWithin(call.attempt, range))) return false
  if (from !== null && (from.unit === 'call' ? call.count < from.value : call.sinceStartMs < from.value)) return false
  if (until !== null && (until.unit === 'call' ? call.count > until.value : call.sinceStartMs >= until.value))
    return false
  if (times !== null && timesSoFar >= times) return false
  return percent === null || draw(`${seed} ${index} ${call.call} ${call.key} ${call.attempt}`) * 100 < percent
}

function isWithin(value: number, { from, to }: Range): boolean {
  return value >= from && (to === null || value <= to)
}

/** A number from 0 to below 1 that follows from a text: FNV-1a, with the last steps of MurmurHash3 to spread it. */
function draw(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
