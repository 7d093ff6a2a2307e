/**
 * A small exchange, killed at random moments while orders come in: whatever was answered is there once, whatever was not can
 * be found out and is there at most once, the books are those of the stored orders, and all that traded is settled.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { inDatabase, seededRandom, type UpServer, until, type Workshop } from '../support/process.ts'
import { uuid } from '../support/wallet-rig.ts'

export interface OrdersKilledOptions {
  readonly kills: number
  readonly clients: number
  /** From when enough orders have come in to the next kill. */
  readonly longestMs: number
  readonly seed: number
}

export interface OrdersKilledResult extends OrdersKilledOptions {
  readonly campaign: 'orders-killed'
  readonly seconds: number
  readonly orders: number
  readonly cancelled: number
  /** Calls that got no answer, and what became of them. */
  readonly unanswered: number
  readonly taken_unanswered: number
  readonly trades: number
}

/** An order that was sent, and what its client was told. */
interface Sent {
  readonly userId: string
  readonly clientOrderId: string
  readonly body: object
  id: string | null
  /** Its cancellation was acknowledged. */
  isCancelled: boolean
  tradeIds: readonly string[]
}

interface Placed {
  readonly order: { readonly id: string; readonly status: string }
  readonly trades: readonly { readonly id: string }[]
}

const ORDERS_BETWEEN_KILLS = 20
const USERS = Array.from({ length: 12 }, (_, at) => uuid('d', at))
const SYMBOL = 'BTC/USDT'
const SYMBOL_IN_PATH = 'BTC-USDT'

export async function ordersKilled(shop: Workshop, options: OrdersKilledOptions): Promise<OrdersKilledResult> {
  const { kills, clients, longestMs, seed } = options
  const random = seededRandom(seed)
  const dataDir = `orders-killed-${seed}`
  const sent: Sent[] = []
  let unanswered = 0
  let takenUnanswered = 0
  const beganMs = performance.now()

  let server: UpServer | null = await shop.up(['--data-dir', shop.path(dataDir)])
  await fund(server)
  let isOver = false
  const loads = Array.from({ length: clients }, (_, client) => load(client))

  for (let kill = 0; kill < kills; kill++) {
    await ordersComeIn()
    const running: UpServer = server ?? (await until('a server', async () => server))
    running.signal('SIGKILL')
    await running.ended
    server = null
    server = await shop.up(['--data-dir', shop.path(dataDir)])
  }
  await ordersComeIn()
  isOver = true
  await Promise.all(loads)
  assert.ok(server !== null)
  const found = await audit(server)
  server.signal('SIGTERM')
  assert.equal((await server.ended).status, 0)
  const { status, stdout } = await shop.run(['verify', '--json', '--data-dir', shop.path(dataDir)])
  assert.equal(status, 0, stdout)
  await expectStoredOnce()
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10
  return {
    campaign: 'orders-killed',
    ...options,
    seconds,
    orders: sent.length,
    cancelled: sent.filter(order => order.isCancelled).length,
    unanswered,
    taken_unanswered: takenUnanswered,
    ...found,
  }

  /** Some of them, however slow the machine is, and then until a moment that nobody has chosen. */
  async function ordersComeIn(): Promise<void> {
    const enough = sent.length + ORDERS_BETWEEN_KILLS
    await until('orders come in', async () => sent.length >= enough)
    await delay(random() * longestMs)
  }

  /** A client that sends one order after the other, and asks what became of those it got no answer for. */
  async function load(client: number): Promise<void> {
    const own: Sent[] = []
    for (let number = 0; !isOver; number++) {
      const at = server
      if (at === null) {
        await delay(5)
        continue
      }
      if (own.length > 0 && random() < 0.25) await cancel(at, own)
      const order = newOrder(client, number)
      sent.push(order)
      await place(at, order)
      if (order.id !== null) own.push(order)
    }
  }

  async function place(at: UpServer, order: Sent): Promise<void> {
    const answer = await at.post('/v1/orders', order.body).catch(() => null)
    if (answer === null || answer.status === 503) {
      unanswered++
      await findOut(order)
      return
    }
    assert.equal(answer.status, 201, JSON.stringify(answer.body))
    note(order, answer.body as Placed)
  }

  /** Its client order id says whether an order was taken; one that was not may be sent again under it. */
  async function findOut(order: Sent): Promise<void> {
    const path = `/v1/orders/by-client-id/${order.userId}/${order.clientOrderId}`
    const looked = await until('the exchange answers', async () => {
      const answer = await server?.get(path).catch(() => null)
      return answer === null || answer === undefined || answer.status === 503 ? null : answer
    })
    if (looked.status === 404) {
      const again = await until('the order is taken', async () => {
        const answer = await server?.post('/v1/orders', order.body).catch(() => null)
        return answer === null || answer === undefined || answer.status === 503 ? null : answer
      })
      assert.ok(again.status === 201 || again.status === 200, JSON.stringify(again.body))
      note(order, again.body as Placed)
      return
    }
    assert.equal(looked.status, 200)
    takenUnanswered++
    order.id = (looked.body as Placed).order.id
  }

  function note(order: Sent, { order: { id }, trades }: Placed): void {
    order.id = id
    order.tradeIds = trades.map(trade => trade.id)
  }

  async function cancel(at: UpServer, own: Sent[]): Promise<void> {
    const [order] = own.splice(Math.floor(random() * own.length), 1)
    if (order === undefined) return
    const answer = await at.delete(`/v1/orders/${order.id}`).catch(() => null)
    if (answer === null || answer.status === 503 || answer.status === 409) return
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    order.isCancelled = true
  }

  function newOrder(client: number, number: number): Sent {
    const userId = USERS[Math.floor(random() * USERS.length)] ?? ''
    const clientOrderId = `c${client}-${number}`
    const kind = random()
    const limit = { type: 'limit', price: (50_000 + (random() - 0.5) * 20).toFixed(2) }
    const body = {
      ...{ user_id: userId, client_order_id: clientOrderId, symbol: SYMBOL, side: random() < 0.5 ? 'buy' : 'sell' },
      ...{ quantity: (0.0001 + random() / 100).toFixed(5) },
      ...(kind < 0.1 ? { type: 'market' } : kind < 0.2 ? { ...limit, time_in_force: 'IOC' } : limit),
    }
    return { userId, clientOrderId, body, id: null, isCancelled: false, tradeIds: [] }
  }

  /** What was answered is there, and the book is that of the stored orders. */
  async function audit(at: UpServer): Promise<{ readonly trades: number }> {
    const trades = new Set<string>()
    for (const order of sent) {
      if (order.id === null) continue
      const { status, body } = await at.get(`/v1/orders/${order.id}`)
      assert.equal(status, 200, `order ${order.id} was answered, and is lost`)
      if (order.isCancelled) assert.equal((body as Placed).order.status, 'cancelled')
      for (const id of order.tradeIds) trades.add(id)
    }
    for (const id of trades) assert.equal((await at.get(`/v1/trades/${id}`)).status, 200, `trade ${id} is lost`)
    await until('all is settled', async () => {
      const { body } = await at.get('/v1/admin/status')
      const { pending, dead_letters: letters } = body as { readonly pending: number; readonly dead_letters: number }
      assert.equal(letters, 0)
      return pending === 0
    })
    const { body: book } = await at.get(`/v1/markets/${SYMBOL_IN_PATH}/book?depth=1000`)
    const open = await openOrders(at)
    for (const side of ['bids', 'asks'] as const) {
      assert.deepEqual((book as Record<string, unknown>)[side], levelsOf(open, side === 'bids' ? 'buy' : 'sell'))
    }
    return { trades: trades.size }
  }

  async function expectStoredOnce(): Promise<void> {
    await inDatabase(shop.path(dataDir), async database => {
      const { rows } = await database.query<{ readonly client_order_id: string; readonly times: bigint }>(
        'select client_order_id, count(*) as times from orders group by 1',
      )
      const stored = new Map(rows.map(row => [row.client_order_id, Number(row.times)]))
      for (const order of sent) assert.equal(stored.get(order.clientOrderId) ?? 0, order.id === null ? 0 : 1)
      const left = await database.query('select from order_id_blocks union all select from hold_releases')
      assert.equal(
        left.rowCount,
        0,
        'ids are left that may be the keys of holds without an order, or holds that are not released',
      )
      const held = await database.query('select from ledger_accounts where held > 0 and user_id <> all ($1)', [USERS])
      assert.equal(held.rowCount, 0)
    })
  }
}

interface OpenOrder {
  readonly side: 'buy' | 'sell'
  readonly price: string
  readonly remaining_quantity: string
}

async function openOrders(at: UpServer): Promise<readonly OpenOrder[]> {
  const all: OpenOrder[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const { status, body } = await at.get(`/v1/orders?status=open,partially_filled&limit=1000${page}`)
    assert.equal(status, 200)
    const { orders, next_cursor } = body as {
      readonly orders: readonly OpenOrder[]
      readonly next_cursor: string | null
    }
    all.push(...orders)
    cursor = next_cursor
  }
  return all
}

/** The book that the stored orders make, in exact hundred-thousandths. */
function levelsOf(
  orders: readonly OpenOrder[],
  side: OpenOrder['side'],
): readonly (readonly [string, string, number])[] {
  const levels = new Map<string, { lots: bigint; count: number }>()
  for (const { side: of, price, remaining_quantity: quantity } of orders) {
    if (of !== side) continue
    const level = levels.get(price) ?? { lots: 0n, count: 0 }
    const [whole = '0', places = ''] = quantity.split('.')
    level.lots += BigInt(whole) * 100_000n + BigInt(places.padEnd(5, '0'))
    level.count++
    levels.set(price, level)
  }
  const sign = side === 'buy' ? -1 : 1
  return [...levels]
    .sort(([one], [other]) => sign * (Number(one) - Number(other)))
    .map(([price, { lots, count }]) => {
      const text = `${lots / 100_000n}.${(lots % 100_000n).toString().padStart(5, '0')}`
      return [price, text.replace(/\.?0+$/, ''), count] as const
    })
}

async function fund(server: UpServer): Promise<void> {
  for (const user_id of USERS) {
    for (const [currency, amount] of [
      ['USDT', '100000000'],
      ['BTC', '10000'],
    ]) {
      const key = { 'idempotency-key': `deposit ${user_id} ${currency}` }
      const { status } = await server.post('/v1/credits', { user_id, currency, amount, reason: 'DEPOSIT' }, key)
      assert.equal(status, 201)
    }
  }
}
