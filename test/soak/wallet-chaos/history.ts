/** What was sent and what was answered, in the order in which it was from here: one process, so one order. */
import assert from 'node:assert/strict'
import { type Item, keyOf } from './plan.ts'
import type { Said } from './wire.ts'

/** One sending of one call. `answered` without `said`: the connection was cut, or the answer said to try again. */
export interface Attempt {
  readonly item: Item
  readonly sent: number
  readonly answered: number
  readonly said: Said | null
}

export class History {
  readonly #byKey = new Map<string, Attempt[]>()
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>()
  #now = 0

  /** The number of a moment. */
  tick(): number {
    return ++this.#now
  }

  record(attempt: Attempt): void {
    const key = keyOf(attempt.item.call)
    const known = this.#byKey.get(key)
    if (known === undefined) this.#byKey.set(key, [attempt])
    else known.push(attempt)
    // A reversal says nothing of what the call of its key is answered.
    if (attempt.said !== null && attempt.item.call.kind !== 'reversal') this.#waitingFor(key).resolve()
  }

  /** Resolves when the first answer to a call of the key is there. */
  async answered(key: string): Promise<void> {
    await this.#waitingFor(key).promise
  }

  keys(): readonly string[] {
    return [...this.#byKey.keys()]
  }

  /** Of the key: reversals of it, or all others. */
  of(key: string, what: 'calls' | 'reversals'): readonly Attempt[] {
    const attempts = this.#byKey.get(key) ?? []
    return attempts.filter(({ item }) => (item.call.kind === 'reversal') === (what === 'reversals'))
  }

  /** What became of some keys, one sending a line. */
  told(keys: readonly string[]): string {
    const attempts = [...new Set(keys)].flatMap(key => this.#byKey.get(key) ?? [])
    return attempts
      .map(attempt => JSON.stringify(attempt, (_, it) => (typeof it === 'bigint' ? `${it}` : it)))
      .join('\n')
  }

  #waitingFor(key: string): PromiseWithResolvers<void> {
    let waiting = this.#waiting.get(key)
    if (waiting === undefined) {
      waiting = Promise.withResolvers<void>()
      this.#waiting.set(key, waiting)
    }
    return waiting
  }
}

/** The first and the last moment at which what an answer says may have happened. */
export interface Window {
  readonly from: number
  readonly to: number
}

export function windowOf(sent: readonly Attempt[], known: readonly Attempt[]): Window {
  assert.ok(sent.length > 0)
  return {
    from: Math.min(...sent.map(attempt => attempt.sent)),
    to: Math.min(...known.map(attempt => attempt.answered)),
  }
}
