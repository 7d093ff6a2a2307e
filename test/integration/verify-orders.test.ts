import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Order } from '../../src/core/order.ts'
import type { Trade } from '../../src/core/trade.ts'
import { verifyBooks } from '../../src/verify/verify.ts'
import { ETH_EUR } from '../support/books.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { type Exchange, openExchange, purchase, sale } from '../support/exchange.ts'
import { until } from '../support/process.ts'
import { tamperingWith } from '../support/tampering.ts'
import { BTC_USDT, BUYER, SELLER } from '../support/trades.ts'

let db: TestDatabase
let exchange: Exchange
/** By what became of them. */
const orders = new Map<string, Order>()
let unsettled: Trade

const { save, restore, tamper } = tamperingWith(() => db.database)

beforeAll(async () => {
  db = await createTestDatabase()
  const market = { ...ETH_EUR, makerFee: '-0.0001', takerFee: '0.0015' }
  exchange = await openExchange(db.database, { markets: [BTC_USDT, market] })
  for (const user of [BUYER, SELLER]) {
    for (const currency of ['BTC', 'USDT', 'ETH', 'EUR']) await exchange.fund(user, currency, '1000000')
  }
  await fill()
  await exchange.close()
  await save()
})
afterEach(restore)
afterAll(() => db.drop())

async function fill(): Promise<void> {
  const keep = async (name: string, order: ReturnType<typeof purchase>): Promise<void> => {
    orders.set(name, (await exchange.placed(order)).order)
  }
  await keep('filled sale', sale({ quantity: '0.4' }))
  await keep('bid', purchase())
  await keep('ask', sale({ price: '51000' }))
  await keep('rounded bid', purchase({ symbol: 'ETH/EUR', price: '1.11', quantity: '0.77777' }))
  await exchange.placed(sale({ symbol: 'ETH/EUR', price: '1.11', quantity: '0.12345' }))
  await keep('cancelled', purchase({ price: '40000' }))
  await exchange.desk.cancel(of('cancelled').id, null)
  await keep('expired', purchase({ price: '40000', timeInForce: 'FOK' }))
  await exchange.placed(sale({ price: '50500', quantity: '0.1', userId: BUYER }))
  const budget = { type: 'market', price: null, quantity: null, quoteQuantity: '100' } as const
  await keep('budget', purchase({ ...budget, userId: SELLER, selfTradePrevention: 'none' }))
  await exchange.atRest()
  await exchange.pool.stop(10_000)
  const { trades } = await exchange.placed(sale({ quantity: '0.1' }))
  unsettled = trades[0]?.trade as Trade
  await until('nothing is free any more', async () => {
    return (await db.database.query('select from hold_releases')).rowCount === 0
  })
}

function of(name: string): Order {
  const order = orders.get(name)
  if (order === undefined) throw new Error(`no order is ${name}`)
  return order
}

const id = (name: string) => `'${of(name).id}'`
const hold = (name: string) => `'${of(name).hold}'`
const last = () => `'${unsettled.id}'`

async function found(): Promise<readonly string[]> {
  return (await verifyBooks(db.database)).examples.map(({ kind }) => kind)
}

describe('the database refuses what the code may forget', () => {
  test('an order of a market that is not there', async () => {
    const other = `'{"id": "00000000-0000-7000-8000-000000000001", "symbol": "SHIB/USDT"}'`
    const insert = `insert into orders select (jsonb_populate_record(o, ${other})).* from orders o where id = ${id('bid')}`
    await expect(db.database.query(insert)).rejects.toThrow('orders of a market that is not there')
  })

  test('a change of an order that is over', async () => {
    const change = `update orders set status = 'open', is_open = true where id = ${id('cancelled')}`
    await expect(db.database.query(change)).rejects.toThrow('is over, and stays so')
  })
})

test('what the desk left is in order', async () => {
  expect((await verifyBooks(db.database)).examples).toEqual([])
})

describe('what was tampered with', () => {
  test.each<[what: string, statements: () => readonly string[], breaks: readonly string[]]>([
    [
      'a filled quantity',
      () => [`update orders set filled_quantity = filled_quantity - 0.00001 where id = ${id('budget')}`],
      ['order-fills'],
    ],
    [
      'what was paid',
      () => [`update orders set filled_quote_quantity = filled_quote_quantity + 1 where id = ${id('filled sale')}`],
      ['order-fills'],
    ],
    [
      'a fee of which more was charged',
      () => [`update orders set fee_charged = fee_charged + 0.00000001 where id = ${id('filled sale')}`],
      ['order-fills'],
    ],
    [
      'a fee that is rounded down, on the order and on its trade',
      () => [
        `update orders set fee_charged = fee_charged - 0.01, fee_exact = fee_exact - 0.001 where id = ${id('rounded bid')}`,
        `update trades set buyer_fee = buyer_fee - 0.01, buyer_fee_rate = buyer_fee_rate - 0.001 / notional
         where buyer_order_id = ${id('rounded bid')}`,
      ],
      ['leg-amount', 'leg-unexpected', 'order-fills', 'order-hold'],
    ],
    ['a trade without its order', () => [`delete from orders where id = ${id('filled sale')}`], ['order-trade']],
    [
      'trades of another side, user or market, at a worse price, or on another hold than their orders',
      () => [
        `update orders set side = 'sell', filled_quantity = 0, filled_quote_quantity = 0, fee_exact = 0, fee_charged = 0
         where id = ${id('budget')}`,
        `update orders set user_id = '${BUYER}', hold = null where id = ${id('filled sale')}`,
        `update trades set seller_hold = null where seller_order_id = ${id('filled sale')}`,
        `update trades set buyer_hold = gen_random_uuid() where id = ${last()}`,
      ],
      ['order-fills', 'order-status', 'order-trade', 'order-trade', 'order-trade', 'order-hold'],
    ],
    [
      'a limit that was not kept',
      () => [`update orders set price = 50001 where id = ${id('filled sale')}`],
      ['order-trade'],
    ],
    [
      'statuses that the quantities contradict',
      () => [
        `update orders set status = 'open' where id = ${id('bid')}`,
        `update orders set status = 'partially_filled' where id = ${id('ask')}`,
        `update orders set status = 'filled' where id = ${id('cancelled')}`,
        `update orders set status = 'cancelled' where id = ${id('filled sale')}`,
        `update orders set quote_quantity = 1 where id = ${id('budget')}`,
      ],
      Array<string>(5).fill('order-status'),
    ],
    [
      'an order that rests and never may',
      () => [`update orders set status = 'open', is_open = true, opened_sequence = 1 where id = ${id('expired')}`],
      ['order-status', 'order-hold'],
    ],
    ['a crossed book', () => [`update orders set price = 50000 where id = ${id('ask')}`], ['book-crossed']],
    [
      'holds that have too little, or too much',
      () => [
        `update ledger_holds set remaining = remaining - 0.00000001 where key = ${hold('bid')}`,
        `update ledger_holds set remaining = remaining + 0.00000001 where key = ${hold('filled sale')}`,
        `update ledger_accounts a set held = (
           select coalesce(sum(remaining), 0) from ledger_holds h where h.user_id = a.user_id and h.currency = a.currency)`,
      ],
      ['order-hold', 'order-hold'],
    ],
    [
      'a hold that is gone, taken back or somebody else’s',
      () => [
        `update orders set hold = gen_random_uuid() where id = ${id('ask')}`,
        `update ledger_holds set remaining = 0, reversed = true where key = ${hold('rounded bid')}`,
        `update ledger_operations set status = 'reversed' where key = ${hold('rounded bid')}`,
        `update ledger_holds set user_id = '${SELLER}' where key = ${hold('cancelled')}`,
        `update ledger_operations set user_id = '${SELLER}' where key = ${hold('cancelled')}`,
        `update ledger_accounts a set held = (
           select coalesce(sum(remaining), 0) from ledger_holds h where h.user_id = a.user_id and h.currency = a.currency)`,
      ],
      ['order-hold', 'order-hold', 'order-hold'],
    ],
    [
      'a release that nobody has made, and one of which the ledger knows that it is done',
      () => [
        `insert into hold_releases values (gen_random_uuid(), ${hold('bid')}, 'USDT', 1, now())`,
        `insert into hold_releases select key::uuid, hold::uuid, currency, amount, now() from ledger_operations
         where kind = 'release'`,
      ],
      ['order-hold'],
    ],
    [
      'a trade that is not settled and does not name its hold is no break: what it needed belongs to nobody',
      () => [`update trades set buyer_hold = null, seller_hold = null where id = ${last()}`],
      [],
    ],
    [
      'a fee that was raised while the order was open',
      () => [`update markets set taker_fee = 0.002 where symbol = 'BTC/USDT'`],
      ['order-hold'],
    ],
  ])('%s', async (_, statements, breaks) => {
    await tamper(...statements())
    expect(await found()).toEqual(breaks)
  })

  test('is told with what was expected and what was found', async () => {
    await tamper(
      `update orders set filled_quantity = 0 where id = ${id('filled sale')}`,
      `update orders set status = 'filled' where id = ${id('cancelled')}`,
      `update ledger_holds set remaining = remaining - 1 where key = ${hold('bid')}`,
      `update ledger_accounts set held = held - 1 where user_id = '${BUYER}' and currency = 'USDT'`,
      `update orders set price = 50000 where id = ${id('ask')}`,
      `update trades set seller_order_id = null where id = ${last()}`,
    )
    const { examples } = await verifyBooks(db.database)
    const details = examples.map(({ detail }) => detail)
    expect(details).toContain(
      `order ${of('filled sale').id} should have 0.4 BTC filled for 20000 USDT with a fee of 10 (exactly 10, rounded up) ` +
        'as its trades sum to, but has 0 for 20000 with a fee of 10 (exactly 10)',
    )
    expect(details).toContain(
      `order ${of('cancelled').id} (limit GTC) that is filled should have all of it filled, but has 0 of 1 BTC filled`,
    )
    expect(details).toContain(
      `of the hold of order ${of('bid').id} should remain 30027.5 = 25025 for its rest, 5002.5 for trades that are not ` +
        'settled, 0 that is to be given back and 0 of nobody, but 30026.5 does',
    )
    expect(details).toContain(
      'in market BTC/USDT the best bid should be below the best ask, but is 50000 where that is 50000',
    )
    expect(details).toContain('order of the sell side should have a trade that it sells by, but is not there')
  })
})
