import { describe, expect, test } from 'vitest'
import { type Chance, createChance } from '../../test/simulation/chance.ts'
import { BTC_USDT, BUYER, FEES, SELLER } from '../../test/support/trades.ts'
import { type Leg, legsOf } from '../core/legs.ts'
import { isOpen, type Order } from '../core/order.ts'
import { NO_FEES } from '../core/order-fees.ts'
import type { Trade } from '../core/trade.ts'
import { createLogger } from '../log.ts'
import type { UnsettledDebit } from '../store/order-store.ts'
import type { Balance } from '../wallet/wallet.ts'
import { acceptOrder, type NewOrder } from './accept.ts'
import type { Claim, Funds, FundsRefusal, Need } from './funds.ts'
import { createMarketDesk, type MarketChanges, type MarketDesk } from './market-desk.ts'
import { purchaseNeed } from './needs.ts'
import { createReservedFunds } from './reserved-funds.ts'

const log = createLogger('silent')
const UNIT = 100_000_000n

describe('funds reserved on our side', () => {
  const funds = (balance: () => Promise<Balance | null>, unsettled: () => Promise<readonly UnsettledDebit[]>): Funds =>
    createReservedFunds({
      log,
      newId: () => 'order',
      open: [],
      wallet: { balance },
      store: { unsettledDebits: unsettled },
    })
  const has = (available: bigint) => async (): Promise<Balance> => balanceOf(BUYER, 'USDT', available)
  const nothing = async (): Promise<readonly UnsettledDebit[]> => []
  const need = (amount: bigint): Need => ({ userId: BUYER, currency: 'USDT', amount })
  const short = (available: bigint, required: bigint): FundsRefusal => ({
    ...{ code: 'INSUFFICIENT_BALANCE', currency: 'USDT', available, required },
  })
  const one = async (of: Funds, amount: bigint): Promise<Claim> => (await of.claim([need(amount)]))[0] as Claim

  test('are promised once, and free again when the order comes to nothing', async () => {
    const made = funds(has(10n), nothing)
    const [first, second] = (await made.claim([need(7n), need(7n)])) as [Claim, Claim]
    expect(first.confirm(7n)).toBeNull()
    expect(second.confirm(7n)).toEqual(short(3n, 7n))
    expect(first.confirm(11n)).toEqual(short(10n, 11n))
    first.giveUp()
    expect(second.confirm(7n)).toBeNull()
    second.keep()
    expect((await one(made, 4n)).confirm(4n)).toEqual(short(3n, 4n))
  })

  test('of an account that was never credited are none', async () => {
    const claim = await one(
      funds(async () => null, nothing),
      1n,
    )
    expect(claim.confirm(1n)).toEqual(short(0n, 1n))
    expect(claim.confirm(0n)).toBeNull()
  })

  test('can not be promised where the balance can not be read, but to an order that needs none', async () => {
    const claim = await one(
      funds(async () => Promise.reject(new Error('away')), nothing),
      1n,
    )
    expect(claim.confirm(1n)).toMatchObject({ code: 'UNAVAILABLE' })
    expect(claim.confirm(0n)).toBeNull()
  })

  test('are asked for together or not at all: where the database fails, nothing stays under way', async () => {
    const asked: string[] = []
    const made = funds(has(10n), async () => {
      asked.push('asked')
      if (asked.length === 2) throw new Error('the connection broke')
      return []
    })
    await expect(made.claim([need(1n), need(1n), need(1n)])).rejects.toThrow('the connection broke')
    expect((await one(made, 10n)).confirm(10n)).toBeNull()
  })

  test('of a trade are counted once where the database knows it before its batch is said to be stored', async () => {
    const trade = aTrade()
    const made = funds(has(trade.notional + 10n), async () => [{ userId: BUYER, trade }])
    const before = await one(made, 1n)
    made.take([changesOf(trade)])
    expect(before.confirm(10n)).toBeNull()
    expect(before.confirm(11n)).toEqual(short(10n, 11n))
  })

  test('of a trade that is matched after the looks are counted from memory', async () => {
    const trade = aTrade()
    const made = funds(has(trade.notional + 10n), nothing)
    const before = await one(made, 1n)
    made.stored(made.take([changesOf(trade)]))
    expect(before.confirm(11n)).toEqual(short(10n, 11n))
  })
})

function balanceOf(userId: string, currency: string, total: bigint): Balance {
  return { userId, currency, available: total, held: 0n, total }
}

/** Whose buyer had set aside exactly what it takes. */
function aTrade(): Trade {
  const terms = { buyerHold: null, sellerHold: null, buyerFeeRate: '0', sellerFeeRate: '0' }
  return {
    ...{
      id: 'a trade',
      symbol: 'BTC/USDT',
      base: 'BTC',
      quote: 'USDT',
      buyerUserId: BUYER,
      sellerUserId: SELLER,
      terms,
    },
    ...{ price: UNIT, quantity: UNIT, notional: UNIT, buyerFee: 0n, sellerFee: 0n, feeUserId: FEES, executedAtMs: 0 },
    ...{ isBuyerMaker: true, buyerOrderId: 'bid', sellerOrderId: 'ask' },
  }
}

/** The trade, of a bid for which its notional was promised a moment ago: in sum nothing but the debit. */
function changesOf(trade: Trade): MarketChanges {
  const freed = [{ order: { id: 'bid', userId: BUYER, hold: null }, currency: 'USDT', amount: -trade.notional }]
  const book = { symbol: 'BTC/USDT', sequence: 1, isHalted: false }
  return { market: BTC_USDT, book, placed: [], changed: [], trades: [trade], freed, ...{ events: [], levels: [] } }
}

// The simulation

const USERS = [BUYER, SELLER, '00000000-0000-4000-8000-00000000000c']
const CURRENCIES = ['BTC', 'USDT']

/** A trade on its way through settlement: how many of its legs the wallet has moved. */
interface Settling {
  readonly trade: Trade
  readonly legs: readonly Leg[]
  applied: number
  /** `matched`: its batch is not committed. `gone`: the database says that it takes nothing any more. */
  state: 'matched' | 'pending' | 'failed' | 'gone'
}

interface Asked {
  readonly order: NewOrder
  readonly need: Need
  claim: Claim | null
}

/**
 * Orders of a few users with little money, on the real book, with reads that come back late, each showing its own moment;
 * in between trades settle leg by leg, fail, are retried or resolved. Nobody's orders and trades may ever need more than
 * there is, so that no trade of theirs fails for want of funds.
 */
class Simulation {
  readonly #chance: Chance
  readonly #desk: MarketDesk
  readonly #funds: Funds
  readonly #balances = new Map<string, bigint>()
  readonly #settling: Settling[] = []
  readonly #orderIds: string[] = []
  /** Each answers with what is true when it is called. */
  readonly #reads: (() => void)[] = []
  readonly #asked: Asked[] = []
  #batch: 'none' | 'taken' | 'committed' = 'none'
  #ids = 0
  accepted = 0
  refused = 0
  trades = 0

  constructor(seed: number) {
    this.#chance = createChance(seed)
    const book = { symbol: 'BTC/USDT', sequence: 0, isHalted: false }
    this.#desk = createMarketDesk({
      ...{ market: BTC_USDT, feeUserId: FEES, book, openOrders: [], newId: () => this.#newId(), now: () => 0 },
    })
    const later = <Answer>(answer: () => Answer): Promise<Answer> =>
      new Promise(resolve => this.#reads.push(() => resolve(answer())))
    this.#funds = createReservedFunds({
      ...{ log, open: [], newId: () => this.#newId() },
      wallet: { balance: (userId, currency) => later(() => this.#balanceOf(userId, currency)) },
      store: { unsettledDebits: userIds => later(() => this.#unsettledOf(userIds)) },
    })
    for (const user of USERS) for (const currency of CURRENCIES) this.#move(user, currency, this.#some(currency, 10))
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      await this.#step()
      this.#expectEnough()
    }
    await this.#comeToRest()
    for (const user of USERS) for (const currency of CURRENCIES) await this.#expectExact(user, currency)
  }

  // What happens

  async #step(): Promise<void> {
    const lot = this.#chance.next()
    // Few are asked for at once, and trades settle slowly: what changes between two reads is what they are both about.
    if (lot < 0.2 && this.#reads.length < 8) this.#ask()
    else if (lot < 0.5) await this.#read()
    else if (lot < 0.75) this.#goOnWithBatch()
    else if (lot < 0.99) this.#settle()
    else this.#move(this.#chance.pick(USERS), 'USDT', this.#some('USDT', 1))
  }

  #ask(): void {
    const isMarket = this.#chance.is(0.2)
    const order: NewOrder = {
      ...{ userId: this.#chance.pick(USERS), clientOrderId: null, symbol: 'BTC/USDT', quoteQuantity: null },
      ...{ side: this.#chance.is(0.5) ? 'buy' : 'sell', type: isMarket ? 'market' : 'limit', postOnly: false },
      price: isMarket ? null : this.#chance.int(97, 103).toFixed(2),
      quantity: (this.#chance.int(1, 1000) / 1000).toFixed(3),
      timeInForce: isMarket ? null : this.#chance.pick(['GTC', 'GTC', 'IOC'] as const),
      selfTradePrevention: this.#chance.pick(['none', 'expire_maker'] as const),
    }
    const asked: Asked = { order, need: this.#needOf(order), claim: null }
    void this.#funds.claim([asked.need]).then(([claim]) => {
      asked.claim = claim as Claim
      this.#asked.push(asked)
    })
  }

  async #read(): Promise<void> {
    const at = this.#chance.int(0, this.#reads.length - 1)
    const [read] = this.#reads.splice(at, 1)
    read?.()
    await afterwards()
  }

  /** One after the other, as the desk does: what is done, what is taken, stored, and heard of. */
  #goOnWithBatch(): void {
    if (this.#batch === 'committed') {
      this.#funds.stored({ releases: [] })
      this.#batch = 'none'
    } else if (this.#batch === 'taken') {
      for (const each of this.#settling) if (each.state === 'matched') each.state = 'pending'
      this.#batch = 'committed'
    } else {
      for (const asked of this.#asked.splice(0, this.#chance.int(1, 4))) this.#place(asked)
      for (const id of this.#orderIds) if (this.#chance.is(0.02)) this.#desk.cancel(id)
      const changes = this.#desk.takeChanges()
      if (changes === null) return
      this.#funds.take([changes])
      for (const trade of changes.trades) {
        this.#settling.push({ trade, legs: legsOf(trade, 'buyer-first'), applied: 0, state: 'matched' })
        this.trades++
      }
      this.#batch = 'taken'
    }
  }

  #place({ order, claim }: Asked): void {
    const read = acceptOrder(order, BTC_USDT)
    if ('fault' in read) throw new Error(JSON.stringify(read.fault))
    if (claim === null) throw new Error('the claim is not ready')
    const { amount } = this.#needOf(order)
    if (claim.confirm(amount) !== null) {
      this.refused++
      claim.giveUp()
      return
    }
    this.accepted++
    const placed = this.#desk.place({ ...read, id: claim.id, hold: null, held: claim.amount })
    if ('refused' in placed) claim.giveUp()
    else {
      claim.keep()
      this.#orderIds.push(placed.order.id)
    }
  }

  #settle(): void {
    const open = this.#settling.filter(({ state }) => state === 'pending' || state === 'failed')
    if (open.length === 0) return
    const one = this.#chance.pick(open)
    if (one.state === 'failed') one.state = this.#chance.is(0.8) ? 'pending' : 'gone'
    else if (one.applied === 1 && this.#chance.is(0.1)) {
      this.#apply(one.legs[0] as Leg, -1n)
      Object.assign(one, { applied: 0, state: 'failed' })
    } else if (one.applied === one.legs.length) one.state = 'gone'
    else {
      // Whole at once, or leg by leg.
      const until = this.#chance.is(0.5) ? one.legs.length : one.applied + 1
      for (const leg of one.legs.slice(one.applied, until)) this.#apply(leg, 1n)
      one.applied = until
    }
  }

  #apply({ type, userId, currency, amount }: Leg, sign: bigint): void {
    this.#move(userId, currency, sign * (type === 'debit' ? -amount : amount))
  }

  #move(userId: string, currency: string, change: bigint): void {
    const after = this.#total(userId, currency) + change
    if (after < 0n && userId !== FEES)
      throw new Error(`a trade fails for want of funds: ${after} ${currency} of ${userId}`)
    this.#balances.set(`${userId} ${currency}`, after)
  }

  // What is true

  #total(userId: string, currency: string): bigint {
    return this.#balances.get(`${userId} ${currency}`) ?? 0n
  }

  #balanceOf(userId: string, currency: string): Balance {
    return balanceOf(userId, currency, this.#total(userId, currency))
  }

  #unsettledOf(userIds: readonly string[]): readonly UnsettledDebit[] {
    return this.#settling
      .filter(({ state }) => state === 'pending' || state === 'failed')
      .flatMap(({ trade }) =>
        [...new Set([trade.buyerUserId, trade.sellerUserId])]
          .filter(userId => userIds.includes(userId))
          .map(userId => ({ userId, trade })),
      )
  }

  /** What open orders can cost, and what their trades will yet take. */
  #owed(userId: string, currency: string): bigint {
    let sum = 0n
    for (const id of this.#orderIds) {
      const order: Order | null = this.#desk.openOrder(id)
      if (order === null || !isOpen(order) || order.userId !== userId) continue
      if (this.#desk.currencyOf(order.side) === currency) sum += this.#desk.needOf(order)
    }
    for (const { legs, applied, state } of this.#settling) {
      if (state === 'gone') continue
      for (const leg of legs.slice(applied)) {
        if (leg.type === 'debit' && leg.userId === userId && leg.currency === currency) sum += leg.amount
      }
    }
    return sum
  }

  #expectEnough(): void {
    for (const user of USERS) {
      for (const currency of CURRENCIES) {
        const [has, owes] = [this.#total(user, currency), this.#owed(user, currency)]
        if (owes > has) throw new Error(`${owes} ${currency} are promised to ${user}, and there are ${has}`)
      }
    }
  }

  // At rest

  async #comeToRest(): Promise<void> {
    while (this.#reads.length > 0) await this.#read()
    do this.#goOnWithBatch()
    while (this.#asked.length > 0 || this.#batch !== 'none')
    while (this.#settling.some(({ state }) => state === 'pending')) this.#settle()
    this.#expectEnough()
  }

  async #expectExact(userId: string, currency: string): Promise<void> {
    const free = this.#total(userId, currency) - this.#owed(userId, currency)
    const claims = this.#funds.claim([{ userId, currency, amount: free + 1n }])
    while (this.#reads.length > 0) await this.#read()
    const [claim] = (await claims) as [Claim]
    expect(claim.confirm(free + 1n)).toEqual({
      ...{ code: 'INSUFFICIENT_BALANCE', currency, available: free, required: free + 1n },
    })
    expect(claim.confirm(free)).toBeNull()
    claim.giveUp()
  }

  #needOf(order: NewOrder): Need {
    const read = acceptOrder(order, BTC_USDT)
    if ('fault' in read) throw new Error(JSON.stringify(read.fault))
    const { terms, command } = read
    const { userId } = order
    if (terms.side === 'sell') return { userId, currency: 'BTC', amount: terms.placedQuantity ?? 0n }
    if (command.type === 'limit') {
      return { userId, currency: 'USDT', amount: purchaseNeed(BTC_USDT, command.ticks, command.lots, NO_FEES) }
    }
    const { notional, fee } = this.#desk.costOf(command)
    return { userId, currency: 'USDT', amount: notional + (fee > 0n ? fee : 0n) }
  }

  /** Up to so many orders' worth. */
  #some(currency: string, orders: number): bigint {
    return (BigInt(this.#chance.int(1, 1000)) * BigInt(orders) * UNIT * (currency === 'BTC' ? 1n : 100n)) / 4000n
  }

  #newId(): string {
    return `${++this.#ids}`.padStart(12, '0')
  }
}

/** All that follows from a read has happened. */
async function afterwards(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

test.each(Array.from({ length: 40 }, (_, at) => at + 1))(
  'never more is promised than there is, and at rest what is available is exact, seed %i',
  async seed => {
    const simulation = new Simulation(seed)
    await simulation.run(1500)
    expect(simulation.accepted).toBeGreaterThan(20)
    expect(simulation.refused).toBeGreaterThan(5)
    expect(simulation.trades).toBeGreaterThan(10)
  },
)
