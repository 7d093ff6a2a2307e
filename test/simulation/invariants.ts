import { type LegOrder, legsOf } from '../../src/core/legs.ts'
import type { Trade } from '../../src/core/trade.ts'
import type { MemoryStore } from '../../src/store/memory-store.ts'
import type { StoredTrade } from '../../src/store/store.ts'
import type { BookedWallet, Entry } from '../../src/wallet/wallet.ts'

/** How often each leg of a trade counts: over all epochs, undone ones not. Throws for a part of a leg. */
export function legCounts(trade: Trade, entries: readonly Entry[]): ReadonlyMap<string, bigint> {
  const legs = legsOf(trade, 'buyer-first')
  const sums = new Map<string, bigint>(legs.map(leg => [leg.name, 0n]))
  const accounts = new Map(legs.map(leg => [leg.name as string, `${leg.userId} ${leg.currency}`]))
  for (const { key, leg: at, amount, userId, currency } of entries) {
    // A leg of its own says its name in the key; one of a settlement is told by its place, which is the order of legs.
    const name = at === null ? key.split(':')[2] : legNameAt(trade, at)
    if (name === undefined || !sums.has(name)) throw new Error(`an entry of no leg: ${key}`)
    if (accounts.get(name) !== `${userId} ${currency}`) throw new Error(`${name} moved ${currency} of ${userId}`)
    sums.set(name, (sums.get(name) ?? 0n) + amount)
  }
  const counts = new Map<string, bigint>()
  for (const { name, type, amount } of legs) {
    const whole = type === 'debit' ? -amount : amount
    const sum = sums.get(name) ?? 0n
    if (sum % whole !== 0n) throw new Error(`${name} moved ${sum}, which is no multiple of ${whole}`)
    counts.set(name, sum / whole)
  }
  return counts
}

const ORDER = new WeakMap<Trade, readonly string[]>()

/** The order of legs in a settlement call; the simulation settles each trade in one order. */
export function rememberOrder(trade: Trade, names: readonly string[]): void {
  ORDER.set(trade, names)
}

function legNameAt(trade: Trade, at: number): string | undefined {
  return ORDER.get(trade)?.[at]
}

/** At every moment: no leg counts twice, none was undone without having been done, and none counts before the one in front. */
export function checkMoment(trade: Trade, legOrder: LegOrder, entries: readonly Entry[]): void {
  const counts = legCounts(trade, entries)
  let before = 1n
  for (const { name } of legsOf(trade, legOrder)) {
    const count = counts.get(name) ?? 0n
    if (count < 0n || count > 1n) throw new Error(`${name} of trade ${trade.id} counts ${count} times`)
    if (count > before) throw new Error(`${name} of trade ${trade.id} counts, and the leg before it does not`)
    before = count
  }
}

/** What became of the trades, by name; for the test to see that everything was reached. */
export type Ends = ReadonlyMap<string, number>

/** At rest: every trade is in exactly one place, and what its place says is true of the money. */
export async function checkRest(
  trades: readonly Trade[],
  userIds: readonly string[],
  feeUserId: string,
  store: MemoryStore,
  wallet: BookedWallet,
): Promise<Ends> {
  const ends = new Map<string, number>()
  const halfDone = new Map<string, bigint>()
  for (const trade of trades) {
    const stored = await store.trade(trade.id)
    if (stored === null) throw new Error(`trade ${trade.id} was accepted and is nowhere`)
    const entries = await wallet.entries({ of: { tradeId: trade.id }, after: null, limit: 10_000 })
    const end = checkTrade(stored, entries, store)
    ends.set(end, (ends.get(end) ?? 0) + 1)
    for (const { currency, amount } of entries) halfDone.set(currency, (halfDone.get(currency) ?? 0n) - amount)
    const isWhole = end === 'settled' || end.startsWith('failed')
    if (isWhole) checkEven(trade, entries)
  }
  await checkMoney(userIds, feeUserId, wallet, halfDone)
  return ends
}

function checkTrade(stored: StoredTrade, entries: readonly Entry[], store: MemoryStore): string {
  const { trade, status, settlement, settledAtMs, retryCount } = stored
  const counts = legCounts(trade, entries)
  const fail = (what: string): never => {
    throw new Error(
      `trade ${trade.id} (${status}) ${what}: ${JSON.stringify({ counts: [...counts].map(String), settlement })}`,
    )
  }
  const place = store.queue().filter(entry => entry.tradeId === trade.id)
  const letter = store.letters().find(each => each.tradeId === trade.id)
  const isOpen = letter !== undefined && letter.status !== 'resolved'
  if (place.some(entry => entry.owner !== null)) fail('is still in hand')
  if (retryCount > 3) fail(`was retried ${retryCount} times`)
  if ((settledAtMs !== null) !== (status === 'SETTLED')) fail('has the wrong time of settlement')
  if (settlement?.held === true) fail('is held')

  switch (status) {
    case 'PENDING':
      return fail('is pending')
    case 'SETTLED': {
      const fee = settlement?.fee ?? 'none'
      for (const [name, count] of counts) if (count !== 1n && (name !== 'fee' || fee === 'none')) fail(`lacks ${name}`)
      if (fee === 'none' && (place.length > 0 || isOpen)) fail('is settled and in another place as well')
      if (fee === 'owed') fail('still owes its fee')
      if (fee === 'parked' && (place.length !== 1 || !isOpen || letter?.kind !== 'fee')) fail('has lost its fee')
      return fee === 'none' ? 'settled' : 'settled, fee parked'
    }
    case 'SETTLEMENT_FAILED': {
      if (place.length !== 1 || !isOpen || letter?.kind !== 'settlement') fail('is in no place')
      const rollback = letter?.rollback ?? ''
      if (rollback === 'incomplete') {
        const reasons = settlement?.steps.map(step => step.lastError?.code) ?? []
        if (!reasons.includes('INSUFFICIENT_BALANCE')) fail('is parked without a reason that lasts')
        return 'parked'
      }
      for (const [name, count] of counts) if (count !== 0n) fail(`still has ${name}`)
      return `failed, rollback ${rollback}`
    }
  }
}

function checkEven(trade: Trade, entries: readonly Entry[]): void {
  const sums = new Map<string, bigint>()
  for (const { currency, amount } of entries) sums.set(currency, (sums.get(currency) ?? 0n) + amount)
  for (const [currency, sum] of sums) if (sum !== 0n) throw new Error(`trade ${trade.id} made ${sum} ${currency}`)
}

/** Balances and what half-done trades hold are what was paid in, less what was paid out. */
async function checkMoney(
  userIds: readonly string[],
  feeUserId: string,
  wallet: BookedWallet,
  halfDone: ReadonlyMap<string, bigint>,
): Promise<void> {
  for (const { currency, deposits, withdrawals } of await wallet.totals()) {
    let all = 0n
    for (const userId of userIds) {
      const total = (await wallet.balance(userId, currency))?.total ?? 0n
      if (total < 0n && userId !== feeUserId) throw new Error(`${userId} has ${total} ${currency}`)
      all += total
    }
    const clearing = halfDone.get(currency) ?? 0n
    if (all + clearing !== deposits - withdrawals) {
      throw new Error(`${currency}: ${all} + ${clearing} in clearing is not ${deposits} - ${withdrawals}`)
    }
  }
}
