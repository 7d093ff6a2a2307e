/** Randomness that a seed repeats. */
export interface Chance {
  /** From 0 to below 1. */
  next(): number
  is(probability: number): boolean
  /** A whole number, both ends included. */
  int(least: number, most: number): number
  pick<Item>(items: readonly Item[]): Item
  uuid(): string
}

/** Mulberry32: small, and good enough to spread events (https://github.com/bryc/code/blob/master/jshash/PRNGs.md). */
export function createChance(seed: number): Chance {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1))
  const hex = (digits: number): string =>
    Array.from({ length: digits }, () => Math.floor(next() * 16).toString(16)).join('')
  return {
    next,
    int,
    is: probability => next() < probability,
    pick: items => items[int(0, items.length - 1)] as (typeof items)[number],
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
  }
}
