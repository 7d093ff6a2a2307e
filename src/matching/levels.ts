import type { Side } from './commands.ts'

/** An order in the book. It changes in place, and is its own link in the queue of its level, for the sake of speed. */
export interface RestingOrder {
  readonly orderId: string
  readonly userId: string
  readonly side: Side
  readonly ticks: number
  /** What is left of it. */
  lots: number
  filled: number
  previous: RestingOrder | null
  next: RestingOrder | null
}

/** The orders at one price, the earliest first. */
export interface Level {
  readonly ticks: number
  first: RestingOrder | null
  last: RestingOrder | null
  /** Of all its orders together. */
  lots: number
  orders: number
}

/** One side of a book: its levels by price, the best one last, where arrays grow and shrink for nothing. */
export interface Levels {
  readonly side: Side
  readonly sorted: Level[]
}

export function createLevels(side: Side): Levels {
  return { side, sorted: [] }
}

export function bestOf({ sorted }: Levels): Level | undefined {
  return sorted[sorted.length - 1]
}

/** The orders side by side, best price first, the earliest first at each. */
export function* ordersOf({ sorted }: Levels): Generator<RestingOrder> {
  for (let at = sorted.length - 1; at >= 0; at--) {
    for (let order = sorted[at]?.first ?? null; order !== null; order = order.next) yield order
  }
}

/** Whether the level at the order's price can count its lots too. */
export function hasRoomFor(levels: Levels, ticks: number, lots: number): boolean {
  const level = levelAt(levels, ticks)
  return level === undefined || Number.isSafeInteger(level.lots + lots)
}

/** Undefined: nothing rests at this price. */
export function levelAt(levels: Levels, ticks: number): Level | undefined {
  const level = levels.sorted[placeOf(levels, ticks)]
  return level?.ticks === ticks ? level : undefined
}

/** Puts an order behind all others at its price. */
export function append(levels: Levels, order: RestingOrder): void {
  const level = levelFor(levels, order.ticks)
  order.previous = level.last
  if (level.last === null) level.first = order
  else level.last.next = order
  level.last = order
  level.lots += order.lots
  level.orders++
}

/** Takes an order out of the queue, wherever it stands. */
export function remove(levels: Levels, order: RestingOrder): void {
  const place = placeOf(levels, order.ticks)
  const level = levels.sorted[place]
  if (level?.ticks !== order.ticks) throw new Error(`order ${order.orderId} is in no level of the book`)
  if (order.previous === null) level.first = order.next
  else order.previous.next = order.next
  if (order.next === null) level.last = order.previous
  else order.next.previous = order.previous
  level.lots -= order.lots
  level.orders--
  if (level.orders > 0) return
  if (place === levels.sorted.length - 1) levels.sorted.pop()
  else levels.sorted.splice(place, 1)
}

/** Takes lots off an order that keeps some, and its place. */
export function shrink(levels: Levels, order: RestingOrder, lots: number): void {
  const level = levels.sorted[placeOf(levels, order.ticks)]
  if (level?.ticks !== order.ticks) throw new Error(`order ${order.orderId} is in no level of the book`)
  order.lots -= lots
  level.lots -= lots
}

function levelFor(levels: Levels, ticks: number): Level {
  const { sorted } = levels
  const place = placeOf(levels, ticks)
  const there = sorted[place]
  if (there?.ticks === ticks) return there
  const level: Level = { ticks, first: null, last: null, lots: 0, orders: 0 }
  if (place === sorted.length) sorted.push(level)
  else sorted.splice(place, 0, level)
  return level
}

/** Where the level of a price is, or would be: before the first that is as good or better. */
function placeOf({ side, sorted }: Levels, ticks: number): number {
  let low = 0
  let high = sorted.length
  // Most of what happens, happens at the best price.
  if (high > 0 && sorted[high - 1]?.ticks === ticks) return high - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    const at = (sorted[middle] as Level).ticks
    if (side === 'buy' ? at < ticks : at > ticks) low = middle + 1
    else high = middle
  }
  return low
}
