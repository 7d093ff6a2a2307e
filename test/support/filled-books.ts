import { randomUUID } from 'node:crypto'
import { acceptTrade, type Trade, type TradeInput } from '../../src/core/trade.ts'
import { type Books, ETH_EUR, FAULTS, type Fault, legKey } from './books.ts'
import { BUYER, FEES, makeTrade, SELLER, tradeInput } from './trades.ts'

/** Whole units in the smallest one, of the assets with eight places. */
export const UNIT = 100_000_000n
/** Never has anything. */
export const POOR = '00000000-0000-4000-8000-00000000000d'
const LATE = '00000000-0000-4000-8000-00000000000e'

const SAGA = { rail: 'saga', legOrder: 'buyer-first' } as const
const ATOMIC = { rail: 'atomic', legOrder: 'buyer-first' } as const

/** The books being filled, and what was made so far. */
interface Filling {
  readonly books: Books
  readonly trade: (name: string, change?: Partial<TradeInput>) => Trade
  readonly euroTrade: (name: string, price: string, quantity: string) => Trade
  readonly of: (name: string) => Trade
}

/** Everything that can become of a trade, on both rails; the trades by what became of them. */
export async function fillBooks(books: Books): Promise<ReadonlyMap<string, Trade>> {
  const made = new Map<string, Trade>()
  const keep = (name: string, one: Trade): Trade => {
    made.set(name, one)
    return one
  }
  const filling: Filling = {
    books,
    trade: (name, change) => keep(name, makeTrade(change)),
    euroTrade: (name, price, quantity) => keep(name, makeEuroTrade(price, quantity)),
    of: name => {
      const one = made.get(name)
      if (one === undefined) throw new Error(`no trade is ${name}`)
      return one
    },
  }
  await moveOutside(books)
  await setAside(books)
  await settleAll(filling)
  await settleLate(filling)
  await leaveUnfinished(filling)
  await leaveInHand(filling)
  return made
}

function makeEuroTrade(price: string, quantity: string): Trade {
  const input = tradeInput({ symbol: 'ETH/EUR', price, quantity, buyerFee: '0', sellerFee: '0' })
  const result = acceptTrade(input, ETH_EUR, FEES)
  if ('faults' in result) throw new Error(JSON.stringify(result.faults))
  return result.trade
}

async function moveOutside(books: Books): Promise<void> {
  for (const userId of [BUYER, SELLER]) {
    for (const currency of ['USDT', 'BTC', 'EUR', 'ETH']) await books.deposit(userId, currency, 10_000_000n * UNIT)
  }
  await books.deposit(SELLER, 'USDT', UNIT, randomUUID())
  const outside = { tradeId: null, userId: SELLER, currency: 'USDT', amount: 7n } as const
  await books.wallet.apply({ ...outside, key: 'in', type: 'credit', reason: 'DEPOSIT' })
  await books.wallet.apply({ ...outside, key: 'out', type: 'debit', reason: 'WITHDRAWAL' })
  await books.wallet.apply({ ...outside, key: 'out and back', type: 'debit', reason: 'WITHDRAWAL' })
  for (const key of ['in', 'out and back', 'never seen']) await books.wallet.reverse(key)
}

/** Holds in every state: drawn in part, released in part, closed, taken back, refused. */
async function setAside({ wallet }: Books): Promise<void> {
  const account = { userId: SELLER, currency: 'USDT' } as const
  for (const key of ['drawn', 'released', 'closed', 'reversed']) await wallet.hold({ key, ...account, amount: 5n })
  await wallet.hold({ key: 'refused hold', userId: POOR, currency: 'USDT', amount: 5n })
  const outside = { ...account, tradeId: null, type: 'debit', reason: 'WITHDRAWAL' } as const
  await wallet.apply({ ...outside, key: 'drawing', amount: 3n, hold: 'drawn' })
  await wallet.apply({ ...outside, key: 'drawing, and back', amount: 7n, hold: 'closed' })
  await wallet.reverse('drawing, and back')
  await wallet.release({ key: 'releasing', hold: 'released', amountAtto: 10n ** 10n })
  await wallet.release({ key: 'releasing, and back', hold: 'released', amountAtto: 10n ** 10n })
  await wallet.reverse('releasing, and back')
  await wallet.release({ key: 'releasing nothing', hold: 'nowhere', amountAtto: null })
  for (const key of ['reversed', 'refused hold']) await wallet.reverse(key)
}

async function settleAll({ books, trade, euroTrade }: Filling): Promise<void> {
  for (const rail of ['atomic', 'saga'] as const) {
    for (const legOrder of ['buyer-first', 'debits-first'] as const) {
      const named = (name: string, change?: Partial<TradeInput>): Trade =>
        trade(`${name}, ${rail}, ${legOrder}`, change)
      const some = [
        // The first takes the fee account below zero.
        named('rebates', { buyerFee: '-60', sellerFee: '50' }),
        named('settled'),
        named('no fees', { buyerFee: '0', sellerFee: '0' }),
        named('all fee', { sellerFee: '50000' }),
        named('self-trade', { sellerUserId: BUYER }),
        named('self-trade with rebates', { sellerUserId: BUYER, buyerFee: '-30', sellerFee: '-1' }),
        named('nothing moves', { sellerUserId: BUYER, buyerFee: '0', sellerFee: '0' }),
        named('buyer without funds', { buyerUserId: POOR }),
        named('seller without goods', { sellerUserId: POOR }),
      ]
      await books.settle(some, { rail, legOrder })
    }
    const rounded = [
      euroTrade(`half down to even, ${rail}`, '0.05', '0.5'),
      euroTrade(`half up to even, ${rail}`, '0.15', '0.5'),
      euroTrade(`rounded up, ${rail}`, '1.23', '0.12345'),
      euroTrade(`rounded to nothing, ${rail}`, '0.01', '0.1'),
    ]
    await books.settle(rounded, { rail, legOrder: 'buyer-first' })
  }
  await books.settle([trade('undone by opposites', { sellerUserId: POOR })], SAGA, {}, 'basic')
}

/** What came to its good end at a second try. */
async function settleLate({ books, trade, of }: Filling): Promise<void> {
  const repeated = trade('answer found')
  await books.settle([repeated], SAGA, { [legKey(repeated, 'buyer-credit')]: FAULTS.lostAfter })
  const whole = trade('answer found at once')
  await books.settle([whole], ATOMIC, { [legKey(whole, 'settlement')]: FAULTS.lostAfter })
  books.advance(2000)
  await books.work()

  const late = { sellerUserId: LATE }
  await books.settle([trade('begun anew', late), trade('begun anew with rebates', { ...late, buyerFee: '-60' })], SAGA)
  await books.settle([trade('begun anew at once', late)], ATOMIC)
  await books.deposit(LATE, 'BTC', 10n * UNIT)
  for (const name of ['begun anew', 'begun anew with rebates']) await books.requeue(of(name), 'saga')
  await books.requeue(of('begun anew at once'), 'atomic')
  await books.work()

  const fee = trade('fee collected later')
  await books.settle([fee], SAGA, { [legKey(fee, 'fee')]: FAULTS.refused })
  await books.requeue(fee, 'saga')
  await books.work()
}

/** What stands halfway, or stopped there. */
async function leaveUnfinished({ books, trade, of }: Filling): Promise<void> {
  const poor = { sellerUserId: POOR }
  const rows: readonly (readonly [name: string, call: string, fault: Fault, change?: Partial<TradeInput>])[] = [
    ['fee parked', 'fee', FAULTS.refused],
    ['fee owed', 'fee', FAULTS.deferred],
    ['fee owed, answer lost', 'fee', FAULTS.lostAfter],
    ['waits', 'seller-credit', FAULTS.deferred],
    ['waits, call lost', 'buyer-credit', FAULTS.lostBefore],
    ['waits, answer lost', 'seller-debit', FAULTS.lostAfter],
    ['parked', 'undo buyer-credit', FAULTS.refused, poor],
    ['going back, call lost', 'undo buyer-credit', FAULTS.lostBefore, poor],
    ['going back, answer lost', 'undo buyer-debit', FAULTS.lostAfter, poor],
  ]
  for (const [name, call, fault, change] of rows) {
    const one = trade(name, change)
    const key = call.startsWith('undo ') ? `undo ${one.id}:0:${call.slice(5)}` : `${one.id}:0:${call}`
    await books.settle([one], SAGA, { [key]: fault })
  }
  const whole = trade('waits, whole answer lost')
  await books.settle([whole], ATOMIC, { [legKey(whole, 'settlement')]: FAULTS.lostAfter })
  await books.requeue(of('buyer without funds, saga, buyer-first'), 'saga')
}

async function leaveInHand({ books, trade, of }: Filling): Promise<void> {
  await books.record(trade('recorded'), 'saga', false)
  await books.record(trade('in hand'), 'saga', true)
  await books.wallet.apply(books.legOf(of('in hand'), 'buyer-debit'))
  await books.wallet.apply(books.legOf(of('in hand'), 'buyer-credit'))
  await books.record(trade('in hand, whole'), 'atomic', true)
  await books.record(trade('in hand, whole and done'), 'atomic', true)
  await books.wallet.settle(books.settlementOf(of('in hand, whole and done')))
}
