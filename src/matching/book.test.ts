import { expect, test } from 'vitest'
import type { Market } from '../core/market.ts'
import { type Book, bookRulesOf, createBook } from './book.ts'
import type { Command, LimitOrder, SelfTradePrevention, Side } from './commands.ts'
import type { MarketEvent } from './events.ts'

/** A lot at one tick is worth one unit of the quote asset. */
const MARKET: Market = {
  symbol: 'A/B',
  base: { code: 'A', scale: 0 },
  quote: { code: 'B', scale: 0 },
  tickSize: '1',
  lotSize: '1',
  minNotional: '0',
  makerFee: '0',
  takerFee: '0.1',
  rounding: null,
}
/** A lot at one tick is worth half a unit, and no half is paid. */
const HALVES: Market = { ...MARKET, base: { code: 'A', scale: 1 }, lotSize: '0.5', rounding: 'down' }

const emptyBook = (): Book => createBook(bookRulesOf(MARKET))

function limit(orderId: string, side: Side, ticks: number, lots: number, change: Partial<LimitOrder> = {}): Command {
  const usual = { timeInForce: 'GTC', postOnly: false, selfTradePrevention: 'expire_taker' } as const
  return { type: 'limit', orderId, userId: orderId, side, ticks, lots, ...usual, ...change }
}

function market(orderId: string, side: Side, lots: number): Command {
  return { type: 'market', orderId, userId: orderId, side, lots, selfTradePrevention: 'expire_taker' }
}

function budget(orderId: string, units: bigint): Command {
  return { type: 'budget', orderId, userId: orderId, budget: units, selfTradePrevention: 'expire_taker' }
}

/** The events of the commands in short: what happened, to whom, how much. */
function run(book: Book, ...commands: readonly Command[]): readonly string[] {
  return commands.flatMap(command => book.apply(command)).map(short)
}

function short(event: MarketEvent): string {
  switch (event.type) {
    case 'opened':
      return `opened ${event.orderId} ${event.lots}@${event.ticks}`
    case 'fill':
      return `fill ${event.makerOrderId}-${event.takerOrderId} ${event.lots}@${event.ticks}`
    case 'expired':
      return `expired ${event.orderId} ${event.lots} ${event.reason}`
    case 'cancelled':
    case 'reduced':
      return `${event.type} ${event.orderId} ${event.lots}`
    case 'rejected':
      return `rejected ${event.orderId} ${event.code}`
  }
}

test('O-1 the best price first, then the earliest, at the maker’s price; the rest opens', () => {
  const book = emptyBook()
  run(
    book,
    limit('a', 'sell', 101, 2),
    limit('b', 'sell', 100, 1),
    limit('c', 'sell', 100, 2),
    limit('d', 'sell', 103, 1),
  )
  expect(run(book, limit('t', 'buy', 102, 9))).toEqual([
    'fill b-t 1@100',
    'fill c-t 2@100',
    'fill a-t 2@101',
    'opened t 4@102',
  ])
  expect(book.depth('buy', 10)).toEqual([[102, 4, 1]])
  expect(book.depth('sell', 10)).toEqual([[103, 1, 1]])
  expect([book.bestBid, book.bestAsk, book.sequence]).toEqual([102, 103, 8])
})

test('a fill names both orders, both users, the side that took, and what it is worth', () => {
  const book = emptyBook()
  run(book, limit('m', 'buy', 7, 5, { userId: 'maker' }))
  expect(book.apply(limit('t', 'sell', 6, 3, { userId: 'taker' }))).toEqual([
    {
      ...{
        type: 'fill',
        sequence: 2,
        makerOrderId: 'm',
        takerOrderId: 't',
        makerUserId: 'maker',
        takerUserId: 'taker',
      },
      ...{ takerSide: 'sell', ticks: 7, lots: 3, notional: 21n },
    },
  ])
  expect(book.openOrder('m')).toEqual({ orderId: 'm', userId: 'maker', side: 'buy', ticks: 7, lots: 2, filled: 3 })
  expect(book.openOrder('t')).toBeNull()
})

test('the rest of an immediate or cancel expires; a fill or kill fills whole or not at all', () => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 2), limit('b', 'sell', 12, 2))
  expect(run(book, limit('k', 'buy', 11, 3, { timeInForce: 'FOK' }))).toEqual(['expired k 3 fill_or_kill'])
  expect(run(book, limit('l', 'buy', 12, 3, { timeInForce: 'FOK' }))).toEqual(['fill a-l 2@10', 'fill b-l 1@12'])
  expect(run(book, limit('i', 'buy', 12, 3, { timeInForce: 'IOC' }))).toEqual([
    'fill b-i 1@12',
    'expired i 2 immediate',
  ])
  expect(run(book, market('m', 'buy', 1), budget('n', 5n))).toEqual([
    'expired m 1 immediate',
    'expired n null immediate',
  ])
})

test('a post-only order that would trade is refused whole, also where it would meet an own one', () => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 2))
  for (const userId of ['a', 'other']) {
    expect(run(book, limit('p', 'buy', 10, 1, { postOnly: true, userId }))).toEqual([
      'rejected p POST_ONLY_WOULD_CROSS',
    ])
  }
  expect(run(book, limit('p', 'buy', 9, 1, { postOnly: true }))).toEqual(['opened p 1@9'])
})

test('a market order takes any price', () => {
  const book = emptyBook()
  run(book, limit('a', 'buy', 10, 2), limit('b', 'buy', 1, 2))
  expect(run(book, market('m', 'sell', 3))).toEqual(['fill a-m 2@10', 'fill b-m 1@1'])
})

test.each<[SelfTradePrevention, readonly string[]]>([
  ['none', ['fill a-t 1@10', 'fill own-t 2@10', 'fill b-t 2@11', 'opened t 1@12']],
  ['expire_taker', ['fill a-t 1@10', 'expired t 5 self_trade']],
  ['expire_maker', ['fill a-t 1@10', 'expired own 2 self_trade', 'fill b-t 2@11', 'opened t 3@12']],
  ['expire_both', ['fill a-t 1@10', 'expired own 2 self_trade', 'expired t 5 self_trade']],
])('self-trade prevention %s: the taker’s mode decides', (selfTradePrevention, events) => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 1), limit('own', 'sell', 10, 2, { userId: 'me' }), limit('b', 'sell', 11, 2))
  expect(run(book, limit('t', 'buy', 12, 6, { userId: 'me', selfTradePrevention }))).toEqual(events)
})

test.each<[SelfTradePrevention, number, boolean]>([
  ['none', 3, true],
  ['none', 4, false],
  ['expire_taker', 1, true],
  ['expire_taker', 2, false],
  ['expire_maker', 3, true],
  ['expire_maker', 4, false],
  ['expire_both', 1, true],
  ['expire_both', 2, false],
])('own orders do not count for a fill or kill: %s, %i lots: %s', (selfTradePrevention, lots, isFilled) => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 1), limit('own', 'sell', 10, 2, { userId: 'me' }), limit('b', 'sell', 11, 2))
  const before = book.state()
  const events = run(book, limit('t', 'buy', 12, lots, { userId: 'me', selfTradePrevention, timeInForce: 'FOK' }))
  expect(events.some(event => event.startsWith('fill'))).toBe(isFilled)
  if (isFilled) return
  expect(events).toEqual([`expired t ${lots} fill_or_kill`])
  expect(book.state().orders).toEqual(before.orders)
})

test('an order that is filled meets no own order behind', () => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 1), limit('own', 'sell', 10, 2, { userId: 'me' }))
  const both = { userId: 'me', selfTradePrevention: 'expire_both' } as const
  expect(run(book, limit('t', 'buy', 12, 1, both))).toEqual(['fill a-t 1@10'])
})

test.each<[bigint, readonly string[]]>([
  // 10, and a fee of 1.
  [11n, ['fill a-t 1@10', 'expired t null budget_spent']],
  [10n, ['expired t null budget_spent']],
  // The fee of 3 lots is 3.1, charged as 4: together, not lot by lot.
  [34n, ['fill a-t 2@10', 'expired t null budget_spent']],
  [35n, ['fill a-t 2@10', 'fill b-t 1@11', 'expired t null budget_spent']],
  [1000n, ['fill a-t 2@10', 'fill b-t 2@11', 'expired t null immediate']],
])('a budget of %s pays for notional and fees, and not for one lot more', (units, events) => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 2), limit('b', 'sell', 11, 2))
  expect(run(book, budget('t', units))).toEqual(events)
})

test('a budget that pays for nothing leaves the own order that it meets alone', () => {
  const book = emptyBook()
  run(book, limit('own', 'sell', 10, 2, { userId: 'me' }))
  const both = { userId: 'me', selfTradePrevention: 'expire_both' } as const
  expect(run(book, { type: 'budget', orderId: 't', budget: 10n, ...both })).toEqual(['expired t null budget_spent'])
  expect(run(book, { type: 'budget', orderId: 't', budget: 11n, ...both })).toEqual([
    'expired own 2 self_trade',
    'expired t null self_trade',
  ])
})

test('each fill is rounded once', () => {
  const book = createBook(bookRulesOf(HALVES))
  book.apply(limit('a', 'sell', 1, 5))
  const notionals = [3, 1, 1].map((lots, at) => book.apply(market(`t${at}`, 'buy', lots))[0])
  expect(notionals).toMatchObject([{ notional: 1n }, { notional: 0n }, { notional: 0n }])
})

test('cancelled orders are gone; what is not open can’t be cancelled', () => {
  const book = emptyBook()
  run(book, limit('a', 'buy', 10, 2), limit('b', 'buy', 10, 3), limit('c', 'buy', 10, 4))
  const cancels = ['b', 'b', 'never'].map(orderId => ({ type: 'cancel', orderId }) as const)
  expect(run(book, ...cancels)).toEqual(['cancelled b 3', 'rejected b ORDER_NOT_OPEN', 'rejected never ORDER_NOT_OPEN'])
  expect(book.depth('buy', 10)).toEqual([[10, 6, 2]])
  expect(run(book, market('m', 'sell', 6))).toEqual(['fill a-m 2@10', 'fill c-m 4@10'])
})

test('a reduced order keeps its place; to what is filled or below it is cancelled', () => {
  const book = emptyBook()
  run(book, limit('a', 'buy', 10, 5), limit('b', 'buy', 10, 5), market('m', 'sell', 2))
  const reduce = (orderId: string, lots: number): readonly string[] => run(book, { type: 'reduce', orderId, lots })
  expect(reduce('a', 6)).toEqual(['rejected a NOT_A_REDUCTION'])
  expect(reduce('a', 5)).toEqual([])
  expect(reduce('a', 3)).toEqual(['reduced a 3'])
  expect(book.depth('buy', 1)).toEqual([[10, 6, 2]])
  expect(run(book, market('n', 'sell', 2))).toEqual(['fill a-n 1@10', 'fill b-n 1@10'])
  expect(reduce('a', 1)).toEqual(['rejected a ORDER_NOT_OPEN'])
  expect(reduce('b', 1)).toEqual(['cancelled b 4'])
  expect(book.state().orders).toEqual([])
})

test('the id of an open order is refused, whatever it is; one that ended may come again', () => {
  const book = emptyBook()
  for (const id of ['__proto__', 'constructor', '']) {
    expect(run(book, limit(id, 'buy', 10, 1), limit(id, 'sell', 10, 1), { type: 'cancel', orderId: id })).toEqual([
      `opened ${id} 1@10`,
      `rejected ${id} ORDER_ID_REUSED`,
      `cancelled ${id} 1`,
    ])
  }
})

test('what an order would do now changes nothing', () => {
  const book = emptyBook()
  run(book, limit('a', 'sell', 10, 2), limit('own', 'sell', 11, 2, { userId: 'me' }), limit('b', 'sell', 12, 2))
  const before = book.state()
  const me = { userId: 'me', selfTradePrevention: 'expire_maker' } as const
  expect(book.costOf({ ...me, type: 'market', orderId: 't', side: 'buy', lots: 3 })).toEqual(
    // 3.2, rounded up once.
    { lots: 3, notional: 32n, fee: 4n },
  )
  expect(book.costOf({ ...me, type: 'budget', orderId: 't', budget: 22n })).toEqual({ lots: 2, notional: 20n, fee: 2n })
  expect(book.costOf({ ...me, type: 'market', orderId: 't', side: 'sell', lots: 3 })).toMatchObject({ lots: 0 })
  const cost = (change: Partial<LimitOrder>) =>
    book.costOf(limit('t', 'buy', 11, 9, { ...me, ...change }) as LimitOrder)
  expect(cost({})).toEqual({ lots: 2, notional: 20n, fee: 2n })
  expect(cost({ timeInForce: 'FOK' })).toEqual({ lots: 0, notional: 0n, fee: 0n })
  expect(cost({ orderId: 'a' })).toEqual({ lots: 0, notional: 0n, fee: 0n })
  expect(cost({ postOnly: true })).toEqual({ lots: 0, notional: 0n, fee: 0n })
  expect(book.state()).toEqual(before)
})

test.each<Command>([
  limit('a', 'buy', 1.5, 1),
  limit('a', 'buy', 1, 0),
  limit('a', 'buy', Number.NaN, 1),
  market('a', 'sell', 2 ** 53),
  budget('a', 0n),
  { type: 'reduce', orderId: 'a', lots: 0.5 },
])('%o is a bug of whoever sends it', command => {
  const book = emptyBook()
  expect(() => book.apply(command)).toThrow(RangeError)
  expect(book.sequence).toBe(0)
})

test('what a level can’t count does not rest there', () => {
  const book = emptyBook()
  const most = Number.MAX_SAFE_INTEGER
  expect(run(book, limit('a', 'buy', 10, most), limit('b', 'buy', 10, 1), limit('c', 'buy', 9, 1))).toEqual([
    `opened a ${most}@10`,
    'expired b 1 level_full',
    'opened c 1@9',
  ])
})

test('a state that no book can have is refused', () => {
  const order = { orderId: 'a', userId: 'a', side: 'buy', ticks: 10, lots: 1, filled: 0 } as const
  const restore = (...orders: readonly (typeof order | object)[]) =>
    createBook(bookRulesOf(MARKET), { sequence: 1, orders: orders.map(each => ({ ...order, ...each })) })
  expect(restore({}).state()).toEqual({ sequence: 1, orders: [order] })
  expect(() => restore({}, {})).toThrow("order a can't be in a book")
  expect(() => restore({ lots: 0 })).toThrow("order a can't be in a book")
  expect(() => restore({ filled: -1 })).toThrow("order a can't be in a book")
  expect(() => restore({}, { orderId: 'b', side: 'sell' })).toThrow('the open orders cross')
})
