/**
 * The matching engine in memory, on one core: random commands a second, and how long a market order takes that sweeps a level
 * of many orders. Beside it, in the same run, the oracle of the tests on the first of the same commands, when its book is still
 * small.
 *
 * Of the commands 45 % are limit orders that may rest, from 5 ticks beyond the middle to 60 away from it; 40 % cancel them one
 * after the other, 3 % reduce one of them (either may be filled by then); 5 % are market orders, 5 % IOC or FOK that cross, 2 %
 * purchases by budget.
 *
 *   npm run bench:matching -- --commands 1000000 --naive-commands 5000 --users 3000 --level 16000
 */
import { hash } from 'node:crypto'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { bookRulesOf, createBook } from '../src/matching/book.ts'
import type { Command, Side } from '../src/matching/commands.ts'
import { createChance } from '../test/simulation/chance.ts'
import { createNaiveBook } from '../test/support/naive-book.ts'
import { BTC_USDT } from '../test/support/trades.ts'
import { SEED } from './workload.ts'

export interface MatchingBenchOptions {
  readonly commands: number
  readonly naiveCommands: number
  readonly users: number
  /** Orders at the price that is swept. */
  readonly level: number
}

export interface MatchingBenchResult {
  readonly bench: 'matching'
  readonly node: string
  readonly cpu: string
  readonly parameters: MatchingBenchOptions & { readonly seed: number }
  /** Of the book at the end: two runs with one hash did the same work. */
  readonly result: string
  readonly events: number
  readonly fills: number
  /** At the end. */
  readonly open_orders: number
  readonly per_second: number
  /** The median of several. */
  readonly sweep_ms: number
  readonly naive: { readonly per_second: number }
  readonly engine_to_naive: number
}

const MIDDLE = 5_000_000
const SWEEPS = 5
const selfTradePrevention = 'expire_taker'

export function bench(options: MatchingBenchOptions): MatchingBenchResult {
  const commands = makeCommands(options)
  const rules = bookRulesOf(BTC_USDT)
  // The engine as it runs in a server that has been up for a while, and not as it is compiled.
  run(createBook(rules), commands)
  const book = createBook(rules)
  const { perSecond, events, fills } = run(book, commands)
  const sweeps = Array.from({ length: SWEEPS }, () => sweep(options.level)).sort((one, other) => one - other)
  const naive = run(createNaiveBook(BTC_USDT), commands.slice(0, options.naiveCommands))
  const { orders } = book.state()
  return {
    bench: 'matching',
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model}`,
    parameters: { ...options, seed: SEED },
    result: hash('sha256', JSON.stringify(book.state())).slice(0, 16),
    events,
    fills,
    open_orders: orders.length,
    per_second: Math.round(perSecond),
    sweep_ms: Math.round((sweeps[SWEEPS >> 1] ?? 0) * 100) / 100,
    naive: { per_second: Math.round(naive.perSecond) },
    engine_to_naive: Math.round(perSecond / naive.perSecond),
  }
}

function makeCommands({ commands, users }: MatchingBenchOptions): readonly Command[] {
  const chance = createChance(SEED)
  const resting: string[] = []
  let cancelled = 0
  return Array.from({ length: commands }, (_, at): Command => {
    const side = chance.pick(['buy', 'sell'] as const)
    const orderId = `order ${at}`
    const placed = { orderId, userId: `user ${chance.int(1, users)}`, selfTradePrevention } as const
    const lots = chance.int(1, 1000)
    const kind = chance.next()
    if (kind < 0.4 && cancelled < resting.length) return { type: 'cancel', orderId: resting[cancelled++] ?? '' }
    if (kind >= 0.85 && kind < 0.88 && resting.length > 0)
      return { type: 'reduce', orderId: chance.pick(resting.slice(-100)), lots }
    if (kind >= 0.88 && kind < 0.93) return { ...placed, type: 'market', side, lots }
    if (kind >= 0.93 && kind < 0.95) return { ...placed, type: 'budget', budget: BigInt(lots * MIDDLE) * 10n }
    const rests = kind < 0.95
    if (rests) resting.push(orderId)
    const timeInForce = rests ? 'GTC' : chance.pick(['IOC', 'FOK'] as const)
    const ticks = awayFrom(side, rests ? chance.int(-5, 60) : -5)
    return { ...placed, type: 'limit', side, ticks, lots, timeInForce, postOnly: false }
  })
}

function awayFrom(side: Side, ticks: number): number {
  return side === 'buy' ? MIDDLE - ticks : MIDDLE + ticks
}

interface Run {
  readonly perSecond: number
  readonly events: number
  readonly fills: number
}

function run(
  book: { apply(command: Command): readonly { readonly type: string }[] },
  commands: readonly Command[],
): Run {
  let events = 0
  let fills = 0
  const started = performance.now()
  for (const command of commands) {
    const happened = book.apply(command)
    events += happened.length
    for (const { type } of happened) if (type === 'fill') fills++
  }
  return { perSecond: commands.length / ((performance.now() - started) / 1000), events, fills }
}

/** How many milliseconds one market order takes that fills every order of a level. */
function sweep(level: number): number {
  const book = createBook(bookRulesOf(BTC_USDT))
  const resting = { type: 'limit', side: 'sell', ticks: MIDDLE, lots: 10, timeInForce: 'GTC', postOnly: false } as const
  for (let at = 0; at < level; at++) {
    book.apply({ ...resting, orderId: `order ${at}`, userId: `user ${at}`, selfTradePrevention })
  }
  const taker = { type: 'market', orderId: 'taker', userId: 'taker', side: 'buy', selfTradePrevention } as const
  const started = performance.now()
  const events = book.apply({ ...taker, lots: level * resting.lots })
  const ms = performance.now() - started
  if (events.length !== level || book.bestAsk !== null) throw new Error('the level was not swept')
  return ms
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      commands: { type: 'string', default: '1000000' },
      'naive-commands': { type: 'string', default: '5000' },
      users: { type: 'string', default: '3000' },
      level: { type: 'string', default: '16000' },
    },
  })
  const result = bench({
    commands: +values.commands,
    naiveCommands: +values['naive-commands'],
    users: +values.users,
    level: +values.level,
  })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
