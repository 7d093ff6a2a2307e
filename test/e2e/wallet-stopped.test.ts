/**
 * Two processes on one database. One is stopped (SIGSTOP) in the middle of its calls, past its leases; the other finishes
 * what it held; then the first wakes up, and its calls arrive where they were stuck: it can do no harm.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { workers } from '../soak/workers.ts'
import { SEED, until } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  databaseUrlOf,
  FAST,
  fund,
  handIn,
  LEGS,
  openMemoryWallet,
  openServe,
  type RigTrade,
  type Rule,
  settings,
  statusOf,
  tradeSeen,
  tradesApart,
  usersOf,
} from '../support/wallet-rig.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

/** How the call of the process that is stopped is stuck. `late`: it has its effect only when all is over. */
const STUCK = ['before', 'after', 'late'] as const

interface Point {
  readonly call: 'apply' | 'reverse'
  readonly leg: string
  readonly stuck: (typeof STUCK)[number]
  /** What the other process comes to. */
  readonly end: 'SETTLED' | 'SETTLEMENT_FAILED'
}

const at = (call: Point['call'], legs: readonly string[], end: Point['end']): readonly Point[] =>
  legs.flatMap(leg => STUCK.map(stuck => ({ call, leg, stuck, end })))
const POINTS = [
  ...at('apply', LEGS, 'SETTLED'),
  // The other process turns back: what is stuck arrives after its own reversal.
  ...at('apply', LEGS.slice(0, 3), 'SETTLEMENT_FAILED'),
  ...at('reverse', LEGS.slice(0, 4), 'SETTLEMENT_FAILED'),
]

/** No call of the first process ends before it is stopped, and no lease before the last call is stuck. */
const LEASE_MS = 10_000
const SETTINGS = { ...FAST, ...settings({ timeout_ms: LEASE_MS - 500, lease_ms: LEASE_MS }) }
const LATE_MS = 26_000
const HANGS = new Set(['no_answer', 'late'])
/** A connection whose oldest request has waited for longer gets no other (pipelined-transport.ts). */
const OVERDUE_MS = 250

function rulesOf({ call, leg, stuck, end }: Point, { id }: RigTrade): readonly Rule[] {
  const which = { trade_id: id, call, leg, attempt: 1 }
  const hang =
    stuck === 'late' ? { ...which, fault: 'late', ms: LATE_MS } : { ...which, fault: 'no_answer', when: stuck }
  if (end === 'SETTLED') return [hang]
  const last = { trade_id: id, call: 'apply', leg: 'seller-credit' }
  // Nothing that comes after it turns a settlement: it is taken back only where its own answers were lost.
  const turning =
    call === 'reverse' && leg === 'seller-credit'
      ? { ...last, fault: 'status', status: 500, when: 'after' }
      : { ...last, fault: 'refuse', code: 'UNKNOWN_CURRENCY' }
  return [hang, turning]
}

interface Case {
  readonly point: Point
  readonly trade: RigTrade
}

/**
 * A process all of whose calls are stuck, and then stopped, beside another; null: not within one lease. A call that is sent
 * behind one that hangs waits for it: that happens where the machine has so much else to do that they do not leave together.
 */
async function stopInEachCall(attempt: number, warmers: readonly RigTrade[], cases: readonly Case[]) {
  const wallet = await openMemoryWallet(shop, 'reversals')
  const trades = cases.map(({ trade }) => trade)
  await fund(wallet, usersOf([...warmers, ...trades]))
  const dataDir = shop.path(`stopped-${attempt}`)
  const sleeper = await openServe(shop, wallet, ['--data-dir', dataDir], SETTINGS)
  const url = await databaseUrlOf(dataDir)
  const folder = shop.path(`other-${attempt}`)
  const other = await openServe(shop, wallet, ['--database-url', url, '--data-dir', folder], SETTINGS)
  // Its connections are open then, and known to be shareable.
  await handIn(sleeper, warmers)
  await atRest(other, warmers.length)
  await wallet.faults(cases.flatMap(({ point, trade }) => rulesOf(point, trade)))
  const beganMs = Date.now()
  for (let first = 0; first < trades.length; first += 4) {
    const some = trades.slice(first, first + 4)
    await handIn(sleeper, some)
    await until('each of them is stuck', async () => {
      const log = await wallet.faultLog()
      return some.every(({ id }) => log.some(({ trade_id, fault }) => trade_id === id && HANGS.has(fault)))
    })
    await delay(OVERDUE_MS + 20)
  }
  sleeper.signal('SIGSTOP')
  if (Date.now() - beganMs < LEASE_MS - 1000) return { wallet, sleeper, other }
  for (const server of [sleeper, other]) {
    server.signal('SIGKILL')
    await server.ended
  }
  return null
}

const ATTEMPTS = 4

describe.concurrent('two processes and more', () => {
  test('F-6 one is stopped in the middle of each call, the other finishes, and the first wakes up in vain', {
    timeout: 180_000,
  }, async () => {
    const warmers = tradesApart(1000, 16)
    const trades = tradesApart(1, POINTS.length)
    const cases = POINTS.map((point, index) => ({ point, trade: trades[index] as RigTrade }))
    const all = [...warmers, ...trades]
    let stopped: Awaited<ReturnType<typeof stopInEachCall>> = null
    for (let attempt = 1; stopped === null && attempt <= ATTEMPTS; attempt++) {
      stopped = await stopInEachCall(attempt, warmers, cases)
    }
    if (stopped === null) throw new Error('the calls were never all stuck within one lease')
    const { wallet, sleeper, other } = stopped
    expect(await statusOf(other)).toMatchObject({ pending: trades.length })
    // It takes what the first held as the leases run out.
    const { settled } = await atRest(other, all.length)
    await audit(other, wallet, all)

    sleeper.signal('SIGCONT')
    await until('the late calls have arrived', async () => {
      const arrived = (await wallet.faultLog()).filter(fault => fault.arrived)
      return arrived.length === POINTS.filter(({ stuck }) => stuck === 'late').length
    })
    await until('the first has nothing in hand any more', async () => (await statusOf(sleeper)).in_flight === 0)
    for (const { point, trade } of cases) {
      expect((await tradeSeen(other, trade.id)).settlement_status, JSON.stringify(point)).toBe(point.end)
    }
    expect((await atRest(sleeper, all.length)).settled).toBe(settled)
    await audit(sleeper, wallet, all)
    other.signal('SIGTERM')
    expect(await other.ended).toMatchObject({ status: 0 })
    sleeper.signal('SIGTERM')
    expect(await sleeper.ended).toMatchObject({ status: 0 })
  })

  test(`S-6 three workers killed at random: five hundred trades, each settled once (seed ${SEED})`, async () => {
    const result = await workers(shop, { level: 'reversals', trades: 500, kills: 3, seed: SEED })
    process.stdout.write(`${JSON.stringify(result)}\n`)
    expect(result.settled).toBe(500)
  })
})
