/** All SQL about orders, books and what is held for them. */
import type { Instruments } from '../core/instruments.ts'
import type { Order } from '../core/order.ts'
import { type Connection, codeOf, type Database, plainArrayOf, transaction, writeAll } from '../db.ts'
import { type Statement, UNEXPECTED_COUNT } from '../statements.ts'
import { uuidAfter } from '../uuid.ts'
import {
  insertReleases,
  refuseRelease,
  removeReleases,
  selectOperatorsReleases,
  selectReleases,
} from './hold-releases.ts'
import { type InstrumentStore, readRows } from './instruments.ts'
import { changingColumnsOf, ORDER_COLUMNS, type OrderRow, orderOf, placedColumnsOf } from './order-rows.ts'
import {
  type DeskBatch,
  type DeskState,
  type IdBlock,
  type Leadership,
  NoLongerLeadingError,
  type OrderQuery,
  type OrderStore,
  type StoredBook,
  type UnsettledDebit,
  type UnusedIds,
} from './order-store.ts'
import { storedTradeOf, type TradeRow, tradeOf } from './rows.ts'
import type { StoredTrade } from './store.ts'
import { insertNewTrades, TRADE_COLUMNS } from './trades.ts'

/** Of the lock that says that a process with the books is alive; any number that nothing else takes. */
const ALIVE = 0x6c_65_67_77

export function createOrderStore(database: Database, instruments: InstrumentStore): OrderStore {
  return {
    lead: onLost => lead(database, onLost),
    load: leadership => transaction(database, connection => load(connection, instruments, leadership)),
    reserveIds: (leadership, block) => reserveIds(database, leadership, block),
    forgetIds: firsts => forgetIds(database, firsts),
    commit: batch => commit(database, instruments, batch),
    released: keys => removeReleases(database, keys),
    releaseRefused: (key, why) => refuseRelease(database, key, why),
    releasesOfOperators: () => selectOperatorsReleases(database, instruments),
    byClientOrderIds: pairs => byClientOrderIds(database, instruments, pairs),
    order: id => selectOrder(database, instruments, id),
    haltedMarkets: () => haltedMarkets(database),
    orders: query => selectOrders(database, instruments, query),
    tradesTaken: order => tradesTaken(database, instruments, order),
    unsettledDebits: userIds => unsettledDebits(database, instruments, userIds),
  }
}

// Who leads

/**
 * The lock only says that somebody is alive, and goes with its connection; what keeps two processes apart is the token,
 * which the one that takes over raises, and which every write names.
 */
async function lead(database: Database, onLost: () => void): Promise<Leadership | null> {
  const connection = await database.connect()
  let isOver = false
  const lost = (): void => {
    if (isOver) return
    isOver = true
    connection.release(true)
    onLost()
  }
  try {
    const { rows } = await connection.query<{ readonly taken: boolean }>('select pg_try_advisory_lock($1) as taken', [
      ALIVE,
    ])
    if (rows[0]?.taken !== true) {
      connection.release()
      return null
    }
    const raised = await connection.query<{ readonly token: bigint }>(
      'update order_desk set token = token + 1 where only_row returning token',
    )
    const [row] = raised.rows
    if (row === undefined) throw new Error('order_desk has lost its row')
    connection.on('error', lost)
    connection.on('end', lost)
    return {
      token: row.token,
      end: async () => {
        if (isOver) return
        isOver = true
        // With the connection goes the lock, whatever else becomes of it.
        connection.release(true)
      },
    }
  } catch (error) {
    connection.release(true)
    throw error
  }
}

/** Whoever takes over waits for this transaction, and each one after it finds another token. */
async function assertLeading(connection: Connection | Database, token: bigint): Promise<void> {
  const { rowCount } = await connection.query({
    name: 'assert-leading',
    text: 'select from order_desk where only_row and token = $1 for share',
    values: [token],
  })
  if (rowCount !== 1) throw new NoLongerLeadingError()
}

async function load(connection: Connection, instruments: InstrumentStore, { token }: Leadership): Promise<DeskState> {
  await assertLeading(connection, token)
  const orders = await connection.query<OrderRow>(`
    select ${ORDER_COLUMNS}
    from orders o
    where o.is_open
    order by o.symbol, o.opened_sequence`)
  const books = await connection.query<{
    readonly symbol: string
    readonly sequence: bigint
    readonly is_halted: boolean
  }>('select symbol, sequence, is_halted from order_books')
  return {
    openOrders: await readRows(instruments, orders.rows, orderOf),
    books: books.rows.map(row => ({ symbol: row.symbol, sequence: Number(row.sequence), isHalted: row.is_halted })),
    unusedIds: await selectUnusedIds(connection),
    releases: await selectReleases(connection, instruments),
  }
}

// Ids

async function reserveIds(database: Database, { token }: Leadership, { first, size }: IdBlock): Promise<void> {
  const { rowCount } = await database.query({
    name: 'reserve-ids',
    text: `
      insert into order_id_blocks (first, size)
      select $1, $2
      from (select from order_desk where only_row and token = $3 for share) as ours`,
    values: [first, size, token],
  })
  if (rowCount !== 1) throw new NoLongerLeadingError()
}

async function forgetIds(database: Database, firsts: readonly string[]): Promise<void> {
  await database.query({
    name: 'forget-ids',
    text: 'delete from order_id_blocks where first = any($1::uuid[])',
    values: [plainArrayOf(firsts)],
  })
}

async function selectUnusedIds(connection: Connection): Promise<readonly UnusedIds[]> {
  const { rows: blocks } = await connection.query<IdBlock>('select first, size from order_id_blocks')
  const unused: UnusedIds[] = []
  for (const { first, size } of blocks) {
    const ids = Array.from({ length: size }, (_, at) => uuidAfter(first, at))
    const { rows } = await connection.query<{ readonly id: string }>(
      'select id from orders where id = any($1::uuid[])',
      [plainArrayOf(ids)],
    )
    const used = new Set(rows.map(row => row.id))
    unused.push({ first, ids: ids.filter(id => !used.has(id)) })
  }
  return unused
}

// A batch

async function commit(database: Database, instruments: Instruments, batch: DeskBatch): Promise<void> {
  const { token, atMs, placed, changed, trades, books, releases } = batch
  try {
    await writeAll(database, [
      {
        name: 'expect-leading',
        text: `
          select expect_count(count(*), 1, 'desks of this token')
          from (select from order_desk where only_row and token = $1 for share) as ours`,
        values: [token],
      },
      ...insertOrders(instruments, placed, atMs),
      ...updateOrders(instruments, changed, atMs),
      ...insertNewTrades(instruments, trades, batch, atMs),
      ...upsertBooks(books),
      ...insertReleases(instruments, releases, { atMs, isByOperator: false }),
    ])
  } catch (error) {
    if (codeOf(error) === UNEXPECTED_COUNT) await assertLeading(database, token)
    throw error
  }
}

const INSERT_ORDERS = `
  insert into orders (
    id, quantity, filled_quantity, filled_quote_quantity, fee_exact, fee_charged, status, opened_sequence,
    client_order_id, user_id, symbol, side, type, price, placed_quantity, quote_quantity, time_in_force, post_only,
    self_trade_prevention, hold, is_open, created_at, updated_at
  )
  select d.*, d.status in ('open', 'partially_filled'), $1::timestamptz, $1::timestamptz
  from unnest(
    $2::uuid[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[], $8::text[], $9::bigint[],
    $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::numeric[], $16::numeric[], $17::numeric[],
    $18::text[], $19::boolean[], $20::text[], $21::uuid[]
  ) as d (
    id, quantity, filled_quantity, filled_quote_quantity, fee_exact, fee_charged, status, opened_sequence,
    client_order_id, user_id, symbol, side, type, price, placed_quantity, quote_quantity, time_in_force, post_only,
    self_trade_prevention, hold
  )`

function insertOrders(instruments: Instruments, placed: readonly Order[], atMs: number): readonly Statement[] {
  if (placed.length === 0) return []
  const values = [new Date(atMs), ...placedColumnsOf(placed, instruments)]
  return [{ name: 'insert-orders', text: INSERT_ORDERS, values }]
}

const UPDATE_ORDERS = `
  with changed as (
    update orders o
    set quantity = d.quantity, filled_quantity = d.filled_quantity, filled_quote_quantity = d.filled_quote_quantity,
      fee_exact = d.fee_exact, fee_charged = d.fee_charged, status = d.status,
      is_open = d.status in ('open', 'partially_filled'), updated_at = $1
    from unnest(
      $3::uuid[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[], $9::text[], $10::bigint[]
    ) as d (
      id, quantity, filled_quantity, filled_quote_quantity, fee_exact, fee_charged, status, opened_sequence
    )
    where o.id = d.id
    returning 1
  )
  select expect_count(count(*), $2, 'orders that have changed') from changed`

function updateOrders(instruments: Instruments, changed: readonly Order[], atMs: number): readonly Statement[] {
  if (changed.length === 0) return []
  const values = [new Date(atMs), changed.length, ...changingColumnsOf(changed, instruments)]
  return [{ name: 'update-orders', text: UPDATE_ORDERS, values }]
}

function upsertBooks(books: readonly StoredBook[]): readonly Statement[] {
  if (books.length === 0) return []
  return [
    {
      name: 'upsert-books',
      text: `
        insert into order_books as b (symbol, sequence, is_halted)
        select * from unnest($1::text[], $2::bigint[], $3::boolean[])
        on conflict (symbol) do update
        set sequence = excluded.sequence, is_halted = excluded.is_halted`,
      values: [
        plainArrayOf(books.map(book => book.symbol)),
        plainArrayOf(books.map(book => book.sequence)),
        plainArrayOf(books.map(book => book.isHalted)),
      ],
    },
  ]
}

// Reading

async function byClientOrderIds(
  database: Database,
  instruments: InstrumentStore,
  pairs: readonly { readonly userId: string; readonly clientOrderId: string }[],
): Promise<readonly Order[]> {
  if (pairs.length === 0) return []
  const { rows } = await database.query<OrderRow>({
    name: 'orders-by-client-order-ids',
    text: `
      select ${ORDER_COLUMNS}
      from unnest($1::uuid[], $2::text[]) as d (user_id, client_order_id)
      join orders o on o.user_id = d.user_id and o.client_order_id = d.client_order_id`,
    values: [pairs.map(pair => pair.userId), pairs.map(pair => pair.clientOrderId)],
  })
  return await readRows(instruments, rows, orderOf)
}

async function selectOrder(database: Database, instruments: InstrumentStore, id: string): Promise<Order | null> {
  const { rows } = await database.query<OrderRow>({
    name: 'select-order',
    text: `select ${ORDER_COLUMNS} from orders o where o.id = $1`,
    values: [id],
  })
  const [order] = await readRows(instruments, rows, orderOf)
  return order ?? null
}

async function haltedMarkets(database: Database): Promise<ReadonlySet<string>> {
  const { rows } = await database.query<{ readonly symbol: string }>({
    name: 'halted-markets',
    text: 'select symbol from order_books where is_halted',
  })
  return new Set(rows.map(row => row.symbol))
}

async function selectOrders(
  database: Database,
  instruments: InstrumentStore,
  { userIds, symbols, statuses, belowId, limit }: OrderQuery,
): Promise<readonly Order[]> {
  const values: unknown[] = []
  const bind = (value: unknown): string => `$${values.push(value)}`
  const conditions: string[] = []
  if (userIds.length > 0) conditions.push(`o.user_id = any(${bind(userIds)}::uuid[])`)
  if (symbols.length > 0) conditions.push(`o.symbol = any(${bind(symbols)})`)
  if (statuses.length > 0) conditions.push(`o.status = any(${bind(statuses)})`)
  // In words, so that the index of the few that are open can be taken.
  if (statuses.length > 0 && statuses.every(status => status === 'open' || status === 'partially_filled'))
    conditions.push('o.is_open')
  if (belowId !== null) conditions.push(`o.id < ${bind(belowId)}::uuid`)
  const { rows } = await database.query<OrderRow>({
    text: `
      select ${ORDER_COLUMNS}
      from orders o
      ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`}
      order by o.id desc
      limit ${bind(limit)}`,
    values,
  })
  return await readRows(instruments, rows, orderOf)
}

/** They were recorded with the order, in one transaction and at one time; ids of one moment follow the execution. */
async function tradesTaken(
  database: Database,
  instruments: InstrumentStore,
  { id, userId, side, createdAtMs }: Order,
): Promise<readonly StoredTrade[]> {
  const [user, order, makes] =
    side === 'buy'
      ? ['t.buyer_user_id', 't.buyer_order_id', 'not t.is_buyer_maker']
      : ['t.seller_user_id', 't.seller_order_id', 't.is_buyer_maker']
  const { rows } = await database.query<TradeRow>({
    name: `trades-taken-${side}`,
    text: `
      select ${TRADE_COLUMNS}
      from trades t
      where ${user} = $1
        and t.recorded_at = $2
        and ${order} = $3
        and ${makes}
      order by t.id`,
    values: [userId, new Date(createdAtMs), id],
  })
  return await readRows(instruments, rows, storedTradeOf)
}

/** The queue is read for them: what is not settled is few. */
async function unsettledDebits(
  database: Database,
  instruments: InstrumentStore,
  userIds: readonly string[],
): Promise<readonly UnsettledDebit[]> {
  const wanted = new Set(userIds)
  const { rows } = await database.query<TradeRow>({
    name: 'unsettled-desk-trades',
    text: `
      select ${TRADE_COLUMNS}
      from open_settlements s
      join trades t on t.id = s.trade_id
      left join dead_letters l on l.trade_id = s.trade_id
      -- What has failed takes nothing any more, unless a person retries it.
      where (t.settlement_status = 'PENDING' or (t.settlement_status = 'SETTLEMENT_FAILED' and l.status <> 'resolved'))
        and t.buyer_fee_rate is not null
        and (t.buyer_user_id = any($1::uuid[]) or t.seller_user_id = any($1::uuid[]))`,
    values: [userIds],
  })
  const trades = await readRows(instruments, rows, tradeOf)
  return trades.flatMap(trade =>
    [...new Set([trade.buyerUserId, trade.sellerUserId])]
      .filter(userId => wanted.has(userId))
      .map(userId => ({ userId, trade })),
  )
}
