/**
 * Calls that share a request. What is under way at the same time travels together; a request that the wallet finds too
 * large, or strange as a whole, is split in halves, down to calls that go alone.
 */
import { createBatcher } from '../../batcher.ts'
import type { Outcome } from '../wallet.ts'
import type { NotTaken, Reading } from './outcomes.ts'

export interface TogetherOptions<Item> {
  /** The most in one request, as the wallet says. */
  readonly max: number
  keyOf(item: Item): string
  perform(items: readonly Item[]): Promise<readonly Reading[] | NotTaken>
  /** What is split off down to itself. */
  performAlone(item: Item): Promise<Outcome>
}

/** Requests under way at the same time: while one is being answered the next is being written. */
const LANES = 8
/** Beyond so many calls a request of its own costs next to nothing. */
const SHARED_OUT = 128
/** Requests of the size they are cut to that the wallet takes, before a larger one is tried. */
const TAKEN_BEFORE_MORE = 32

export function createTogether<Item>(options: TogetherOptions<Item>): (item: Item) => Promise<Outcome> {
  /** What a request is cut to: less than the wallet's limit where it has taken less. */
  let most = options.max
  /** Of requests of that size, since it was last changed. */
  let taken = 0

  async function performAll(items: readonly Item[]): Promise<readonly Outcome[]> {
    const parts = partsOf(items)
    const [only] = parts
    if (parts.length === 1 && only !== undefined) return await performPart(only)
    const outcomes: Outcome[] = []
    for (const part of parts) outcomes.push(...(await performPart(part)))
    return outcomes
  }

  /** Two calls of one key never share a request: their answers could not be told apart. Their order is kept. */
  function partsOf(items: readonly Item[]): readonly (readonly Item[])[] {
    const parts: Item[][] = []
    let part: Item[] = []
    let keys = new Set<string>()
    for (const item of items) {
      const key = options.keyOf(item)
      if (part.length === 0 || part.length >= most || keys.has(key)) {
        part = []
        keys = new Set()
        parts.push(part)
      }
      part.push(item)
      keys.add(key)
    }
    return parts
  }

  async function performPart(items: readonly Item[]): Promise<readonly Outcome[]> {
    const readings = await options.perform(items)
    if (typeof readings !== 'string') {
      if (items.length === most) fits()
      return readings.map(({ outcome }) => outcome)
    }
    if (readings === 'too_large') {
      most = Math.max(1, Math.min(most, Math.floor(items.length / 2)))
      taken = 0
    }
    const [only] = items
    if (items.length === 1 && only !== undefined) return [await options.performAlone(only)]
    const half = Math.ceil(items.length / 2)
    return [...(await performPart(items.slice(0, half))), ...(await performPart(items.slice(half)))]
  }

  /** What was too large may have been so for what was in it, or for a proxy that is gone. */
  function fits(): void {
    if (most === options.max || ++taken < TAKEN_BEFORE_MORE) return
    most = Math.min(options.max, most * 2)
    taken = 0
  }

  const line = createBatcher(performAll, options.max, { count: LANES, least: Math.min(options.max, SHARED_OUT) })
  return item => line.add(item)
}
