/**
 * Whether Legwork and a wallet that is a process of its own say the same, asked of both APIs: each leg that Legwork calls
 * applied moved its amount once, each other one nothing; what failed left nothing behind; every failure has its dead
 * letter; and no money was made or lost. Arithmetic of its own, shared with nothing of Legwork's.
 */
import assert from 'node:assert/strict'
import type { UpServer } from './process.ts'
import {
  allPages,
  DEPOSITS,
  FEES,
  type Letter,
  openLetters,
  type RigTrade,
  type RigWallet,
  read,
  type TradeSeen,
  tradeSeen,
  usersOf,
} from './wallet-rig.ts'

interface Entry {
  readonly key: string
  readonly leg: number | null
  readonly trade_id: string | null
  readonly user_id: string
  readonly currency: string
  readonly amount: string
  readonly reason: string
}

export interface Audit {
  readonly seen: readonly TradeSeen[]
  readonly letters: readonly Letter[]
  readonly settled: number
  readonly failed: number
}

/** Asserts all of it, of trades that are at rest with no rollback incomplete. */
export async function audit(server: UpServer, wallet: RigWallet, trades: readonly RigTrade[]): Promise<Audit> {
  const seen = await eachOf(trades, async ({ id }) => await tradeSeen(server, id))
  const letters = await openLetters(server)
  for (const trade of seen) assertWhole(trade)
  assertLetters(seen, letters)
  const users = [...usersOf(trades), FEES]
  if (wallet.level !== 'basic') {
    // First, since they say which trade it is.
    await assertEntries(wallet, users, seen)
    await assertTotals(wallet, seen)
  }
  await assertBalances(wallet, users, seen)
  const settled = seen.filter(trade => trade.settlement_status === 'SETTLED').length
  return { seen, letters, settled, failed: seen.length - settled }
}

/** The status of a trade follows from its legs. */
function assertWhole(trade: TradeSeen): void {
  const said = JSON.stringify(trade)
  const states = trade.legs.map(({ state }) => state)
  if (trade.settlement_status === 'SETTLED') {
    assert.ok(
      trade.legs.every(({ leg, state }) => state === 'applied' || leg === 'fee'),
      said,
    )
    return
  }
  assert.equal(trade.settlement_status, 'SETTLEMENT_FAILED', said)
  assert.ok(['complete', 'not_needed'].includes(trade.rollback), said)
  assert.ok(!states.includes('applied') && !states.includes('unanswered'), said)
}

/** Every failure has its letter, and so has every fee that stopped; nothing else has. */
function assertLetters(seen: readonly TradeSeen[], letters: readonly Letter[]): void {
  const owed = seen.filter(({ settlement_status: status, legs }) => {
    return status === 'SETTLED' && legs.some(({ state }) => state !== 'applied')
  })
  const failed = seen.filter(({ settlement_status: status }) => status === 'SETTLEMENT_FAILED')
  const idsOf = (kind: Letter['kind']): readonly string[] =>
    letters.filter(letter => letter.kind === kind).map(letter => letter.trade_id)
  assert.deepEqual(idsOf('settlement').toSorted(), failed.map(({ id }) => id).toSorted(), 'letters of settlements')
  assert.deepEqual(idsOf('fee').toSorted(), owed.map(({ id }) => id).toSorted(), 'letters of fees')
}

type Net = ReadonlyMap<string, bigint>

/** By user and currency: what the legs that are applied move. */
function wantedNet(seen: readonly TradeSeen[]): Net {
  const net = new Map<string, bigint>()
  for (const { legs } of seen) {
    for (const { state, type, user_id, currency, amount } of legs) {
      if (state === 'applied') add(net, `${user_id} ${currency}`, units(amount) * (type === 'debit' ? -1n : 1n))
    }
  }
  return net
}

/** Of a fee whose call got no answer nobody knows whether it was collected, until it is tried again. */
function doubtedFee({ legs }: TradeSeen): bigint {
  const fee = legs.find(({ leg, state }) => leg === 'fee' && state === 'unanswered')
  return fee === undefined ? 0n : units(fee.amount)
}

async function assertBalances(wallet: RigWallet, users: readonly string[], seen: readonly TradeSeen[]): Promise<void> {
  const wanted = wantedNet(seen)
  const doubted = seen.reduce((sum, trade) => sum + doubtedFee(trade), 0n)
  const accounts = users.flatMap(user =>
    Object.entries(DEPOSITS).map(([currency, deposit]) => ({ user, currency, deposit })),
  )
  await eachOf(accounts, async ({ user, currency, deposit }) => {
    const { total } = await read<{ readonly total: string }>(wallet, `/v1/balances/${user}/${currency}`)
    const least = (user === FEES ? 0n : units(deposit)) + (wanted.get(`${user} ${currency}`) ?? 0n)
    const most = user === FEES && currency === 'USDT' ? least + doubted : least
    const name = `the balance of ${user} in ${currency}: ${total}, not ${least} to ${most}`
    assert.ok(units(total) >= least && units(total) <= most, name)
  })
}

/** Each movement is there once, taken back at most once, and what remains is what Legwork says. */
async function assertEntries(wallet: RigWallet, users: readonly string[], seen: readonly TradeSeen[]): Promise<void> {
  const accounts = users.flatMap(user => Object.keys(DEPOSITS).map(currency => `user_id=${user}&currency=${currency}`))
  const pages = await eachOf(accounts, async account => {
    const path = `/v1/entries?${account}&limit=1000`
    return await allPages(
      wallet,
      path,
      (page: { readonly entries: readonly Entry[]; readonly next_cursor: string | null }) => page.entries,
    )
  })
  const entries = pages.flat().filter(({ trade_id: id }) => id !== null)
  const moved = new Map<string, bigint>()
  const times = new Map<string, number>()
  for (const { trade_id: id, key, leg, user_id, currency, amount, reason } of entries) {
    add(moved, `${id} ${user_id} ${currency}`, units(amount))
    const name = `${key} ${leg} ${reason === 'SETTLEMENT_ROLLBACK' ? 'undo' : 'move'}`
    times.set(name, (times.get(name) ?? 0) + 1)
  }
  assert.deepEqual(
    [...times].filter(([, count]) => count > 1),
    [],
    'movements made twice',
  )
  const wanted = new Map<string, bigint>()
  const doubted = new Map(seen.map(trade => [`${trade.id} ${FEES} USDT`, doubtedFee(trade)]))
  for (const trade of seen) {
    for (const [account, amount] of wantedNet([trade])) wanted.set(`${trade.id} ${account}`, amount)
  }
  const differing = [...new Set([...moved.keys(), ...wanted.keys()])].filter(name => {
    const difference = (moved.get(name) ?? 0n) - (wanted.get(name) ?? 0n)
    return difference !== 0n && difference !== doubted.get(name)
  })
  assert.deepEqual(differing, [], 'what the legs moved')
}

/** Nothing is half done: only fees that are owed are in clearing. */
async function assertTotals(wallet: RigWallet, seen: readonly TradeSeen[]): Promise<void> {
  const { totals } = await read<{ readonly totals: readonly Readonly<Record<string, string>>[] }>(wallet, '/v1/totals')
  const isOwed = seen.some(({ settlement_status: status, legs }) => {
    return status === 'SETTLED' && legs.some(({ state }) => state !== 'applied')
  })
  for (const { balances = '', clearing = '', deposits = '', withdrawals = '' } of totals) {
    assert.equal(units(balances) + units(clearing), units(deposits) - units(withdrawals), 'money is conserved')
    if (!isOwed) assert.equal(units(clearing), 0n, 'clearing is zero')
  }
}

function add(net: Map<string, bigint>, name: string, amount: bigint): void {
  net.set(name, (net.get(name) ?? 0n) + amount)
}

/** In units of eight places. */
function units(text: string): bigint {
  const [, sign, whole = '', part = ''] = /^(-?)([0-9]+)(?:\.([0-9]{1,8}))?$/.exec(text) ?? assert.fail(text)
  const amount = BigInt(whole + part.padEnd(8, '0'))
  return sign === '-' ? -amount : amount
}

const AT_ONCE = 16

/** Some at a time, in order. */
async function eachOf<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (let at = 0; at < items.length; at += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(work))))
  }
  return results
}
