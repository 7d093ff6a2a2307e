/**
 * What a run leaves at the wallet, and taking it away again. It is noted of every call, so that no promise has to clean up
 * after itself, whatever became of it.
 */
import { formatDecimal, MAX_SCALE } from '../core/money.ts'
import type { Answer, Call, Caller } from './caller.ts'
import { decimalOf, isText, read } from './expect.ts'
import type { Trial } from './trial.ts'

export interface Account {
  readonly user_id: string
  readonly currency: string
}

/** What is still there after the end; `total` null where it could not be read. */
export interface Leftover extends Account {
  readonly total: string | null
}

export interface Left {
  /** How many accounts the run has used. They stay, as do their entries. */
  readonly accounts: number
  /** Those that are not empty. */
  readonly notEmpty: readonly Leftover[]
}

export interface Housekeeping {
  /** The same calls, of which notes are kept. */
  readonly caller: Caller
  /** Releases holds, evens out the clearing account and withdraws what is there; what can't be done is left. */
  clean(trial: Trial): Promise<Left>
}

/** Calls at once at the end. */
const LANES = 8
const USER = /^[0-9a-f-]{36}$/

export function createHousekeeping(caller: Caller): Housekeeping {
  const accounts = new Map<string, Account>()
  const holds = new Set<string>()
  const reversed = new Set<string>()
  /** What each key has moved into the clearing account. */
  const cleared = new Map<string, { readonly currency: string; readonly value: bigint }>()
  /** Whether the last call to end got no answer. */
  let isAway = false

  function noteAccounts(value: unknown): void {
    if (Array.isArray(value)) value.forEach(noteAccounts)
    if (typeof value !== 'object' || value === null) return
    const { user_id, currency, legs, operations, settlements } = value as Readonly<Record<string, unknown>>
    if (isText(user_id) && USER.test(user_id) && isText(currency))
      accounts.set(`${user_id} ${currency}`, { user_id, currency })
    for (const inner of [legs, operations, settlements]) if (Array.isArray(inner)) noteAccounts(inner)
  }

  function noteDone({ path, key, body }: Call, answer: Answer): void {
    if (path === '/v1/holds' && answer.status < 300 && key !== undefined) holds.add(key)
    if (path === '/v1/debits' || path === '/v1/credits') noteItem(body, answer.body)
    if (path === '/v1/reversals') noteItem({}, answer.body)
    const operations = typeof body === 'object' && body !== null ? Reflect.get(body, 'operations') : undefined
    if (path !== '/v1/batch' || !Array.isArray(operations)) return
    for (const [index, item] of operations.entries()) noteItem(item, read(answer, 'results', index))
  }

  /** Of one operation and its answer; a settlement leaves the clearing account as it is. */
  function noteItem(item: unknown, said: unknown): void {
    if (typeof said !== 'object' || said === null || typeof item !== 'object' || item === null) return
    const { key, type, status, currency, amount } = said as Readonly<Record<string, unknown>>
    if (!isText(key)) return
    if (status === 'reversed') {
      reversed.add(key)
      cleared.delete(key)
    }
    const reason: unknown = Reflect.get(item, 'reason')
    const isOutside = reason === 'DEPOSIT' || reason === 'WITHDRAWAL'
    const value = decimalOf(amount)
    if (status !== 'applied' || isOutside || reversed.has(key) || !isText(currency) || value === null) return
    cleared.set(key, { currency, value: type === 'debit' ? value : -value })
  }

  /** Gives the clearing account what it lacks and takes what it has too much, through an account of the run. */
  async function evenOut(trial: Trial): Promise<void> {
    const sums = new Map<string, bigint>()
    for (const { currency, value } of cleared.values()) sums.set(currency, (sums.get(currency) ?? 0n) + value)
    for (const [currency, sum] of sums) {
      if (sum === 0n) continue
      const amount = formatDecimal(sum < 0n ? -sum : sum, MAX_SCALE)
      const user = trial.user()
      if (sum > 0n) await trial.send(trial.credit(user, 1, { currency, amount }))
      else {
        await trial.send(trial.credit(user, 1, { currency, amount, reason: 'DEPOSIT' }))
        await trial.send(trial.debit(user, 1, { currency, amount }))
      }
    }
  }

  return {
    caller: async call => {
      noteAccounts(call.body)
      const answer = await caller(call).catch(error => {
        isAway = true
        throw error
      })
      isAway = false
      noteDone(call, answer)
      return answer
    },
    clean: async trial => {
      for (const key of holds) await orNull(trial.post('/v1/holds/release', { key }, trial.key()))
      await orNull(evenOut(trial))
      const waiting = [...accounts.values()].filter(({ currency }) => currency !== trial.unknownCurrency)
      const used = waiting.length
      const notEmpty: Leftover[] = []
      const lane = async (): Promise<void> => {
        for (let account = waiting.pop(); account !== undefined; account = waiting.pop()) {
          // A wallet that does not answer is not asked for every account.
          const total = isAway ? null : await emptied(trial, account)
          if (total === null || decimalOf(total) !== 0n) notEmpty.push({ ...account, total })
        }
      }
      await Promise.all(Array.from({ length: LANES }, lane))
      return { accounts: used, notEmpty }
    },
  }
}

/** Withdraws what is available; gives the total after that. */
async function emptied(trial: Trial, { user_id, currency }: Account): Promise<string | null> {
  const path = `/v1/balances/${user_id}/${currency}`
  const answer = await orNull(trial.get(path))
  const [available, total] = [answer && read(answer, 'available'), answer && read(answer, 'total')]
  if (!isText(available) || !isText(total)) return null
  if ((decimalOf(available) ?? 0n) <= 0n) return total
  await orNull(trial.send(trial.debit(user_id, 1, { currency, amount: available, reason: 'WITHDRAWAL' })))
  const after = await orNull(trial.get(path))
  const left = after && read(after, 'total')
  return isText(left) ? left : null
}

/** Whatever goes wrong while cleaning up is seen by what is left. */
async function orNull<Result>(work: Promise<Result>): Promise<Result | null> {
  return await work.catch(() => null)
}
