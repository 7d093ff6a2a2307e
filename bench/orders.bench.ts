/**
 * A small exchange over HTTP, everything durable and in one process: orders placed one by one on connections of their own, and
 * in batches, by many users around one price; what trades is settled meanwhile. What an order costs hangs on how many trade:
 * so there are two markets, a quiet one, where one order in five meets another, and a busy one, where nearly each does.
 * Beside it, in the same run: the same calls answered without an order (the book read), and the plain way to store orders,
 * a transaction each, without HTTP, funds or matching.
 *
 *   npm run bench:orders -- --orders 30000 --connections 64 --batched 100000
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { openDatabase } from '../src/db.ts'
import { createLogger } from '../src/log.ts'
import { runningPostgres } from '../src/postgres/supervisor.ts'
import { createPipelinedTransport } from '../src/wallet/http/pipelined-transport.ts'
import type { HttpTransport } from '../src/wallet/http/transport.ts'
import { carrying, mixed, onServer, type Timed, TOKEN, timed, userAt } from './load.ts'

export interface OrdersBenchOptions {
  /** One by one. */
  readonly orders: number
  readonly connections: number
  /** In batches. */
  readonly batched: number
  readonly batch: number
  /** Batches under way at once. */
  readonly callers: number
  readonly users: number
}

export interface OrdersBenchResult {
  readonly bench: 'orders'
  readonly node: string
  readonly cpu: string
  readonly parameters: OrdersBenchOptions
  readonly quiet: MarketResult
  readonly busy: MarketResult
  /** The same number of connections reading the book: the floor of HTTP here. */
  readonly floor: Timed
  readonly plain: Timed
  /** Of the quiet market. */
  readonly orders_to_plain: number
  readonly batched_to_plain: number
}

interface MarketResult {
  readonly orders: Timed
  readonly batched: Timed
  /** All of them settled, but for those that failed. */
  readonly trades: number
  readonly failed: number
  readonly trades_per_order: number
  /** From the end of the load until the last trade was settled. */
  readonly settled_after_ms: number
}

type Mix = 'quiet' | 'busy'

const SYMBOL = 'BTC/USDT'
const PRICE = 50_000
/** Of limit orders: by how many ticks of 100 they may cross the middle; and one in how many is at the market. */
const MIXES = { quiet: { crossing: 10, market: 60 }, busy: { crossing: 50, market: 20 } } as const
const PLAIN_CONNECTIONS = 32

export async function bench(options: OrdersBenchOptions): Promise<OrdersBenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  try {
    const quiet = await onMarket('quiet', options)
    const busy = await onMarket('busy', options)
    const floors = await onServer(['up', '--data-dir', folder], async url => ({
      floor: await withTransport(url, options, at =>
        timed(options.orders, options.connections, () => read(at, '/v1/markets/BTC-USDT/book?depth=1')),
      ),
      plain: await plainly(folder, options.orders, options.users),
    }))
    const measured = { quiet, busy, ...floors }
    return {
      bench: 'orders',
      node: process.version,
      cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
      parameters: options,
      ...measured,
      orders_to_plain: Math.round((measured.quiet.orders.per_second / measured.plain.per_second) * 100) / 100,
      batched_to_plain: Math.round((measured.quiet.batched.per_second / measured.plain.per_second) * 100) / 100,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A server of its own for each market, since each has its book. */
async function onMarket(mix: Mix, options: OrdersBenchOptions): Promise<MarketResult> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  try {
    return await onServer(['up', '--data-dir', folder], url =>
      withTransport(url, options, at => load(at, mix, options)),
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function withTransport<Result>(
  url: string,
  { connections, users }: OrdersBenchOptions,
  work: (transport: HttpTransport) => Promise<Result>,
): Promise<Result> {
  const transport = createPipelinedTransport({
    url,
    headers: { Authorization: `Bearer ${TOKEN}` },
    clock: systemClock(),
    log: createLogger('warn'),
    isPipelined: false,
    maxConnections: connections,
  })
  try {
    await fund(transport, users)
    return await work(transport)
  } finally {
    transport.close()
  }
}

async function load(transport: HttpTransport, mix: Mix, options: OrdersBenchOptions): Promise<MarketResult> {
  const { orders: singles, connections, batched, batch, callers, users } = options
  let placed = 0
  const place = (at: number): Promise<void> => {
    placed++
    return post(transport, '/v1/orders', orderAt(mix, at, users), 1)
  }
  const placeMany = (at: number): Promise<void> => {
    placed += batch
    const orders = Array.from({ length: batch }, (_, index) => orderAt(mix, at * batch + index, users))
    return post(transport, '/v1/orders/batch', { orders }, batch)
  }
  // A moment of each first: code that has never run is slow once.
  await timed(singles / 10, connections, place)
  await timed(Math.ceil(batched / batch / 10), callers, placeMany)
  await settledIn(transport)
  const orders = await timed(singles, connections, at => place(at + singles))
  await settledIn(transport)
  const many = await timed(Math.ceil(batched / batch), callers, at => placeMany(at + batched))
  const end = performance.now()
  const { settled, failed } = await settledIn(transport)
  const settledAfterMs = Math.round(performance.now() - end)
  const trades = settled + failed
  return {
    ...{ orders, batched: carrying(many, batch), trades, failed, settled_after_ms: settledAfterMs },
    trades_per_order: Math.round((trades / placed) * 100) / 100,
  }
}

/** By one of many users, around one price. */
function orderAt(mix: Mix, at: number, users: number) {
  const { crossing, market } = MIXES[mix]
  const chance = mixed(at)
  const side = chance % 2 === 0 ? 'buy' : 'sell'
  const order = {
    user_id: userAt(16 + ((chance >>> 1) % users)),
    symbol: SYMBOL,
    side,
    quantity: `0.00${(at % 9) + 1}`,
  }
  if (chance % market === 0) return { ...order, type: 'market' }
  const away = ((chance >>> 8) % 100) - crossing
  return { ...order, type: 'limit', price: (PRICE + (side === 'buy' ? -away : away) / 10).toFixed(1) }
}

async function fund(transport: HttpTransport, users: number): Promise<void> {
  const operations = Array.from({ length: users }, (_, user) =>
    ['USDT', 'BTC'].map(currency => {
      const account = { user_id: userAt(16 + user), currency, amount: '100000000' }
      return { key: `deposit ${user} ${currency}`, type: 'credit', ...account, reason: 'DEPOSIT' }
    }),
  ).flat()
  for (let at = 0; at < operations.length; at += 1000) {
    await post(transport, '/v1/batch', { operations: operations.slice(at, at + 1000) }, 0)
  }
}

/** Throws unless so many orders were taken. */
async function post(transport: HttpTransport, path: string, body: object, many: number): Promise<void> {
  const sent = await transport.send({
    ...{ method: 'POST', path, headers: {}, body: JSON.stringify(body), deadlineMs: 60_000 },
  })
  if (sent.kind !== 'answer') throw new Error(`${path}: ${sent.code}`)
  const taken = sent.body.split('"order":').length - 1
  if (sent.status >= 300 || (many > 0 && taken !== many))
    throw new Error(`${path}: ${sent.status} ${sent.body.slice(0, 500)}`)
}

async function read(transport: HttpTransport, path: string): Promise<string> {
  const sent = await transport.send({ method: 'GET', path, headers: {}, body: null, deadlineMs: 60_000 })
  if (sent.kind !== 'answer' || sent.status !== 200) throw new Error(`${path}: no answer`)
  return sent.body
}

/** Once nothing is pending any more. */
async function settledIn(transport: HttpTransport): Promise<{ readonly settled: number; readonly failed: number }> {
  for (;;) {
    const { pending, settled, failed } = JSON.parse(await read(transport, '/v1/admin/status'))
    if (pending === 0) return { settled, failed }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** What a first version of an order API does: a row and a commit for each order, and nothing else. */
async function plainly(folder: string, orders: number, users: number): Promise<Timed> {
  const running = await runningPostgres(folder)
  if (running === null) throw new Error('the server has no database')
  const database = openDatabase(running, PLAIN_CONNECTIONS)
  try {
    await database.query(`
      create table plain_orders (
        id bigint generated always as identity primary key, user_id uuid not null, symbol text not null, side text not null,
        type text not null, price numeric, quantity numeric not null
      )`)
    return await timed(Math.ceil(orders / 3), PLAIN_CONNECTIONS, async at => {
      const { user_id: user, symbol, side, type, quantity, ...rest } = orderAt('quiet', at, users)
      await database.query(
        'insert into plain_orders (user_id, symbol, side, type, price, quantity) values ($1, $2, $3, $4, $5, $6)',
        [user, symbol, side, type, 'price' in rest ? rest.price : null, quantity],
      )
    })
  } finally {
    await database.end()
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      orders: { type: 'string', default: '30000' },
      connections: { type: 'string', default: '64' },
      batched: { type: 'string', default: '100000' },
      batch: { type: 'string', default: '500' },
      callers: { type: 'string', default: '4' },
      users: { type: 'string', default: '2000' },
    },
  })
  const result = await bench({
    orders: +values.orders,
    connections: +values.connections,
    batched: +values.batched,
    batch: +values.batch,
    callers: +values.callers,
    users: +values.users,
  })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
