/**
 * An order of all events in which each is possible. On an account the entries have theirs, by their numbers; what makes no
 * entry (holds, releases, refusals) is put between them where the account was as its answer says, within the moments at which
 * it can have been. Then the accounts are merged. Whatever order is found, the reference model has to agree with it.
 */
import assert from 'node:assert/strict'
import { type Books, units } from './books.ts'
import type { Event, Placing, Standing, Undo } from './events.ts'

export function inOrder(events: readonly Event[], { accounts, keys }: Books): readonly Event[] {
  const transactions = transactionsOf(events)
  narrow(events, transactions)
  const chains = [...accounts.keys()].map(name => {
    const own = events.filter(({ placings }) => placings.has(name))
    return new Chain(name, own, keys).order()
  })
  return merged(events, transactions, chains)
}

/** What has the same time has taken effect together; the earliest first. */
function transactionsOf(events: readonly Event[]): readonly (readonly Event[])[] {
  const byTime = Map.groupBy(
    events.filter(({ atMs }) => atMs !== null),
    ({ atMs }) => atMs ?? 0,
  )
  return [...byTime].toSorted(([one], [two]) => one - two).map(([, together]) => together)
}

/**
 * What was answered narrows the moments of others: a transaction is one moment for all that is in it, transactions take
 * effect in the order of their times, and no two have the same.
 */
function narrow(events: readonly Event[], transactions: readonly (readonly Event[])[]): void {
  for (const event of events) {
    for (const before of event.before) {
      before.to = Math.min(before.to, event.to)
      event.from = Math.max(event.from, before.from)
    }
  }
  let from = 0
  for (const together of transactions) {
    from = Math.max(from, ...together.map(event => event.from))
    for (const event of together) event.from = from
  }
  let to = Number.POSITIVE_INFINITY
  for (const together of transactions.toReversed()) {
    to = Math.min(to, ...together.map(event => event.to))
    for (const event of together) event.to = to
  }
  for (const event of events) {
    assert.ok(event.from <= event.to, `what was answered came after what was sent later: ${textOf(event)}`)
  }
}

interface Link {
  readonly event: Event
  readonly placing: Placing
  isPlaced: boolean
}

/** How often a choice may turn out wrong on one account before the search is given up. */
const MOST_TURNS = 200_000

class Chain {
  readonly #name: string
  readonly #links: readonly Link[]
  readonly #keys: Books['keys']
  readonly #standing: Standing = { balance: 0n, held: 0n, holds: new Map(), released: new Map() }
  readonly #placed: Link[] = []
  readonly #linkOf = new Map<Event, Link>()
  /** What has been tried in vain: the links that were placed, and how the account stood. */
  readonly #vain = new Set<string>()
  #entries = 0
  /** All before it are placed. */
  #first = 0
  #turns = 0
  #furthest = { placed: -1, text: '' }

  constructor(name: string, events: readonly Event[], keys: Books['keys']) {
    this.#name = name
    this.#keys = keys
    const link = (event: Event): Link => {
      const placing = event.placings.get(name)
      assert.ok(placing !== undefined)
      return { event, placing, isPlaced: false }
    }
    this.#links = events.map(link).toSorted((one, two) => one.event.from - two.event.from)
    for (const each of this.#links) this.#linkOf.set(each.event, each)
  }

  order(): Event[] {
    const isFound = this.#search()
    assert.ok(isFound, `no order of the calls explains the account ${this.#name}: ${this.#furthest.text}`)
    return this.#placed.map(({ event }) => event)
  }

  /** Places all that is left; false: it can't be, and all is as before. */
  #search(): boolean {
    const undos: Undo[] = []
    const undoAll = (): false => {
      for (const undo of undos.toReversed()) undo()
      return false
    }
    // What changes nothing never stands in the way of anything: at once, wherever it can be.
    while (true) {
      const seen = this.#candidates().flatMap(link => (link.event.kind === 'look' ? (this.#place(link) ?? []) : []))
      undos.push(...seen)
      if (seen.length === 0) break
    }
    if (this.#placed.length === this.#links.length && this.#isAsInBooks()) return true
    const here = this.#here()
    if (this.#vain.has(here)) return undoAll()
    for (const link of this.#candidates()) {
      const undo = link.event.kind === 'effect' ? this.#place(link) : null
      if (undo === null) continue
      if (this.#search()) return true
      undo()
    }
    this.#note()
    this.#vain.add(here)
    this.#turns++
    assert.ok(this.#turns < MOST_TURNS, `no order was found for the account ${this.#name}: ${this.#furthest.text}`)
    return undoAll()
  }

  /** Those that no other one has to come before; what was done first comes first. */
  #candidates(): readonly Link[] {
    const open: Link[] = []
    let earliestEnd = Number.POSITIVE_INFINITY
    let earliestMs = Number.POSITIVE_INFINITY
    for (let at = this.#first; at < this.#links.length; at++) {
      const link = this.#links[at]
      if (link === undefined || link.event.from > earliestEnd) break
      if (link.isPlaced) continue
      open.push(link)
      earliestEnd = Math.min(earliestEnd, link.event.to)
      earliestMs = Math.min(earliestMs, link.event.atMs ?? Number.POSITIVE_INFINITY)
    }
    return open
      .filter(({ event, placing }) => {
        if (event.from > earliestEnd || (event.atMs ?? 0) > earliestMs) return false
        if (placing.seq !== null && placing.seq !== this.#entries) return false
        return event.before.every(before => this.#linkOf.get(before)?.isPlaced !== false)
      })
      .toSorted(
        (one, two) => (one.event.atMs ?? Number.POSITIVE_INFINITY) - (two.event.atMs ?? Number.POSITIVE_INFINITY),
      )
  }

  #place(link: Link): Undo | null {
    const undo = link.placing.place(this.#standing)
    if (undo === null) return null
    const first = this.#first
    link.isPlaced = true
    this.#placed.push(link)
    this.#entries += link.placing.entries
    while (this.#links[this.#first]?.isPlaced === true) this.#first++
    return () => {
      this.#entries -= link.placing.entries
      this.#placed.pop()
      link.isPlaced = false
      this.#first = first
      undo()
    }
  }

  #here(): string {
    const ahead: number[] = []
    for (let at = this.#first, left = this.#placed.length - this.#first; left > 0; at++) {
      if (this.#links[at]?.isPlaced !== true) continue
      ahead.push(at)
      left--
    }
    const open = [...this.#standing.holds].filter(([, { remaining }]) => remaining > 0n)
    // Of two releases of all that is left one gave it back, and its reversal takes it again.
    const released = [...this.#standing.released]
      .filter(([, amount]) => amount > 0n)
      .map(([key, amount]) => `${key} ${amount}`)
    const held = open.map(([key, { remaining }]) => `${key} ${remaining}`)
    return `${this.#first} ${ahead.join()} ${held.toSorted().join()} ${released.toSorted().join()}`
  }

  /** What is left of a hold in the end may be all that tells which of two calls came first. */
  #isAsInBooks(): boolean {
    return [...this.#standing.holds].every(([key, { remaining, isReversed }]) => {
      const view = this.#keys.get(key)
      return isReversed || view?.remaining === undefined || units(view.remaining) === remaining
    })
  }

  #note(): void {
    if (this.#placed.length <= this.#furthest.placed) return
    const { balance, held } = this.#standing
    const open: string[] = []
    for (let at = this.#first; at < this.#links.length && open.length < 12; at++) {
      const link = this.#links[at]
      if (link?.isPlaced === false) open.push(textOf(link.event))
    }
    const text = `after ${this.#placed.length} of ${this.#links.length} it has ${balance} and holds ${held}; next are\n${open.join('\n')}`
    this.#furthest = { placed: this.#placed.length, text }
  }
}

/** One order that has those of all accounts and keys, that of the transactions, and what was answered before what was sent later. */
function merged(
  events: readonly Event[],
  transactions: readonly (readonly Event[])[],
  chains: readonly (readonly Event[])[],
): readonly Event[] {
  const after = new Map<Event, Event[]>(events.map(event => [event, []]))
  const missing = new Map<Event, number>(events.map(event => [event, 0]))
  const link = (one: Event | undefined, two: Event): void => {
    if (one === undefined) return
    after.get(one)?.push(two)
    missing.set(two, (missing.get(two) ?? 0) + 1)
  }
  for (const event of events) for (const before of event.before) link(before, event)
  for (const chain of chains) for (const [at, event] of chain.entries()) link(chain[at - 1], event)
  for (const [at, together] of transactions.entries()) {
    for (const before of transactions[at - 1] ?? []) for (const event of together) link(before, event)
  }
  const sorted = sortedBy(events, missing, after, () => 0)
  assert.ok(sorted.length === events.length, `the orders of the accounts contradict one another: ${circleOf(missing)}`)
  // Who has to be before what ends early goes early; then nobody is placed before what was answered before it was sent.
  const ends = new Map<Event, number>()
  for (const event of sorted.toReversed()) {
    ends.set(event, Math.min(event.to, ...(after.get(event) ?? []).map(next => ends.get(next) ?? next.to)))
  }
  const order = sortedBy(events, missing, after, event => ends.get(event) ?? event.to)
  let from = 0
  for (const event of order) {
    from = Math.max(from, event.from)
    assert.ok(from <= event.to, `the order of the accounts is not that of the calls: ${textOf(event)}`)
  }
  return order
}

function circleOf(missing: ReadonlyMap<Event, number>): string {
  const left = [...missing].filter(([, count]) => count > 0).slice(0, 8)
  return left.map(([event]) => textOf(event)).join('\n')
}

/** Topologically; of those that may be next the one of the least rank. Leaves `missing` as it was. */
function sortedBy(
  events: readonly Event[],
  missing: ReadonlyMap<Event, number>,
  after: ReadonlyMap<Event, readonly Event[]>,
  rank: (event: Event) => number,
): readonly Event[] {
  const left = new Map(missing)
  const ready = events.filter(event => left.get(event) === 0)
  const sorted: Event[] = []
  while (ready.length > 0) {
    let least = 0
    for (const [at, event] of ready.entries()) {
      const best = ready[least]
      if (best !== undefined && rank(event) < rank(best)) least = at
    }
    const [event] = ready.splice(least, 1)
    if (event === undefined) break
    sorted.push(event)
    for (const next of after.get(event) ?? []) {
      const count = (left.get(next) ?? 0) - 1
      left.set(next, count)
      if (count === 0) ready.push(next)
    }
  }
  return sorted
}

export function textOf({ call, answer, from, to, atMs }: Event): string {
  const said = JSON.stringify(call, (_, value) => (typeof value === 'bigint' ? String(value) : value))
  return `${said} → ${answer} (sent at ${from}, answered at ${to}, ${atMs === null ? 'no time' : `at ${atMs} ms`})`
}
