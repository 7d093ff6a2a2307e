/** What an answer has to be. Each function throws `BrokenPromiseError` with what was expected in words. */
import { parseDecimal } from '../core/money.ts'
import type { Answer } from './caller.ts'

export class BrokenPromiseError extends Error {
  readonly answer: Answer
  /** @param expected what should have come, in words. */
  constructor(expected: string, answer: Answer) {
    super(expected)
    this.answer = answer
  }
}

export function expectThat(isTrue: boolean, expected: string, answer: Answer): void {
  if (!isTrue) throw new BrokenPromiseError(expected, answer)
}

/** A field of the answer's body by its path; undefined where there is none. */
export function read(answer: Answer, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, name) => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined),
    answer.body,
  )
}

export function isText(value: unknown): value is string {
  return typeof value === 'string'
}

/** More places than any asset has. */
const MOST_PLACES = 18

/** An amount as units of the smallest place there is; null where it is no decimal text. */
export function decimalOf(amount: unknown): bigint | null {
  const units = isText(amount) ? parseDecimal(amount, MOST_PLACES) : null
  return typeof units === 'bigint' ? units : null
}

/** Whether two amounts are the same by value. */
export function isSame(amount: unknown, wanted: string): boolean {
  return decimalOf(amount) === decimalOf(wanted) && isText(amount)
}

/** Refused, and with this code. */
export function expectRefused(answer: Answer, status: number, code: string): void {
  expectThat(answer.status === status && read(answer, 'code') === code, `${status} ${code}`, answer)
}

export interface Applied {
  /** Whether it has to say that it was done before; left out: either. */
  readonly replayed?: boolean
  /** By value. */
  readonly balanceAfter?: string
}

/** The debit, credit or hold under this key was done. */
export function expectApplied(answer: Answer, { key }: { readonly key: string }, wanted: Applied = {}): void {
  const { replayed, balanceAfter } = wanted
  const isDone = (answer.status === 200 || answer.status === 201) && read(answer, 'status') === 'applied'
  const words = [
    `200 or 201 with "status": "applied" and "key": "${key}"`,
    ...(replayed === undefined ? [] : [`"replayed": ${replayed}`]),
    ...(balanceAfter === undefined ? [] : [`"balance_after": "${balanceAfter}"`]),
  ]
  expectThat(
    isDone &&
      read(answer, 'key') === key &&
      (replayed === undefined || read(answer, 'replayed') === replayed) &&
      (balanceAfter === undefined || isSame(read(answer, 'balance_after'), balanceAfter)),
    words.join(', '),
    answer,
  )
}

export function expectReversal(answer: Answer, key: string, status: 'reversed' | 'cancelled', replayed: boolean): void {
  expectThat(
    answer.status === 200 &&
      read(answer, 'key') === key &&
      read(answer, 'status') === status &&
      read(answer, 'replayed') === replayed,
    `200 with "status": "${status}", "replayed": ${replayed} and "key": "${key}"`,
    answer,
  )
}

/** Not taken while another call under the key was under way: nothing is wrong with that. */
export function isInProgress(answer: Answer): boolean {
  return answer.status === 409 && read(answer, 'code') === 'IN_PROGRESS'
}

/**
 * The results of a batch or a settlements call as answers of their own, with the status each would have alone, so that what
 * is expected of a single call is expected of them in the same words.
 */
export function resultsOf(answer: Answer, count: number): readonly Answer[] {
  const results = read(answer, 'results')
  if (answer.status !== 200 || !Array.isArray(results) || results.length !== count) {
    throw new BrokenPromiseError(`200 with ${count} results`, answer)
  }
  return results.map((result: unknown, index) => {
    const whole = { ...answer, body: result }
    const problem = read(whole, 'problem')
    const isRefused = read(whole, 'status') === 'refused'
    const status = isRefused ? Number(read(whole, 'problem', 'status')) : 200
    const body = isRefused ? { ...objectOf(problem), key: read(whole, 'key') } : result
    return { ...answer, sent: `result ${index} of ${answer.sent}`, status, body, text: JSON.stringify(result) }
  })
}

function objectOf(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}

/** The only one; of a list that a promise has made itself. */
export function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index]
  if (item === undefined) throw new Error(`there is no item ${index}`)
  return item
}
