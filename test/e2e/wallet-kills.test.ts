/**
 * Every call that Legwork makes for a trade, forward and back, and a SIGKILL of Legwork at three points of it: while it is
 * on its way and has no effect yet, after the wallet applied it and before the answer, and right after the answer. The
 * wallet is a process of its own and goes on; Legwork starts again on its database, which went on as well.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { SEED, seededRandom, type UpServer, until } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  FAST,
  fund,
  handIn,
  LEGS,
  type Level,
  type LoggedFault,
  openMemoryWallet,
  openServe,
  type RigTrade,
  type RigWallet,
  type Rule,
  settings,
  tradeSeen,
  tradesApart,
  usersOf,
} from '../support/wallet-rig.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

/** Where Legwork is killed. `answered`: the answer has come, and may or may not have been read. */
interface Point {
  readonly call: 'apply' | 'reverse' | 'settle'
  readonly leg: string
  readonly when: 'before' | 'after' | 'answered'
}

const WHENS = ['before', 'after', 'answered'] as const
const at = (call: Point['call'], legs: readonly string[]): readonly Point[] =>
  legs.flatMap(leg => WHENS.map(when => ({ call, leg, when })))

/** The fee has no undo: by the time it is tried the trade is settled. */
const SAGA = [...at('apply', LEGS), ...at('reverse', LEGS.slice(0, 4))]
const ATOMIC = [...at('settle', ['settlement']), ...at('reverse', ['settlement'])]

/** Calls that can hang at once: a batch that hangs holds one of eight lanes, and one has to be left for the others. */
const MATRIX: readonly (readonly [Level, readonly Point[], atOnce: number])[] = [
  ['basic', SAGA, 100],
  ['reversals', SAGA, 100],
  ['batch', SAGA, 7],
  ['settlements', ATOMIC, 7],
]

/** While Legwork is to be killed no call may end by itself. */
const HANGING = { ...FAST, ...settings({ timeout_ms: 120_000, lease_ms: 150_000, retry_max_attempts: 1 }) }
/** A connection whose oldest request has waited for longer gets no other (pipelined-transport.ts). */
const OVERDUE_MS = 250

/** What makes a trade come by its point at all: an undo is reached by what goes wrong after its leg. */
function waysTo({ call, leg }: Point, { id }: RigTrade): readonly Rule[] {
  if (call !== 'reverse') return []
  // The last leg before the fee is undone where no answer to it ever tells what became of it.
  if (leg === 'seller-credit' || leg === 'settlement') {
    return [
      { trade_id: id, call: ['apply', 'settle'], leg, attempt: '1-2', fault: 'status', status: 500, when: 'after' },
    ]
  }
  return [{ trade_id: id, call: 'apply', leg: 'seller-credit', fault: 'refuse', code: 'UNKNOWN_CURRENCY' }]
}

function hangs({ call, leg, when }: Point, { id }: RigTrade, answerMs: number): Rule {
  const which = { trade_id: id, call, leg, attempt: 1 }
  return when === 'answered'
    ? { ...which, fault: 'slow', ms: answerMs, when: 'after' }
    : { ...which, fault: 'no_answer', when }
}

/** Hands trades in, a few at a time, and waits until each hangs at its point, so that none is behind another. */
async function hangAll(server: UpServer, wallet: RigWallet, trades: readonly RigTrade[]): Promise<void> {
  // In a batch with another it would hang where that one does.
  const atOnce = wallet.level === 'batch' || wallet.level === 'settlements' ? 1 : 3
  const isStuck = (log: readonly LoggedFault[], { id }: RigTrade): boolean =>
    log.some(fault => fault.trade_id === id && ['slow', 'no_answer'].includes(fault.fault))
  for (let first = 0; first < trades.length; first += atOnce) {
    const some = trades.slice(first, first + atOnce)
    await handIn(server, some)
    await until('each of them hangs', async () => {
      const log = await wallet.faultLog()
      return some.every(trade => isStuck(log, trade))
    })
    await delay(OVERDUE_MS + 20)
  }
}

/** Kills it, and where calls are about to be answered, in the moment in which it reads the answers. */
async function kill(server: UpServer, wallet: RigWallet, answerMs: number, random: () => number): Promise<void> {
  const slow = (await wallet.faultLog()).filter(({ fault }) => fault === 'slow')
  if (slow.length > 0) {
    const answeredAtMs = Math.max(...slow.map(fault => Date.parse(fault.at))) + answerMs
    const isInTime = Math.min(...slow.map(fault => Date.parse(fault.at))) + answerMs > Date.now()
    expect(isInTime, 'no call was answered too early').toBe(true)
    server.signal('SIGSTOP')
    await until('the answers have been sent', async () => Date.now() > answeredAtMs + 50)
    server.signal('SIGCONT')
    await delay(random() * 4)
  }
  server.signal('SIGKILL')
  expect(await server.ended).toMatchObject({ status: null })
}

/** Trades without a fault, all at once: they open the connections, and show that these can be shared. */
const WARMERS = 16

interface Case {
  readonly point: Point
  readonly trade: RigTrade
}

/** Brings trades to their points, kills Legwork there; from then on the wallet does well. */
async function killAt(
  server: UpServer,
  wallet: RigWallet,
  cases: readonly Case[],
  random: () => number,
): Promise<void> {
  const answerMs = 1500 + 350 * cases.filter(({ point }) => point.when === 'answered').length
  const ways = cases.flatMap(({ point, trade }) => waysTo(point, trade))
  await wallet.faults([...cases.map(({ point, trade }) => hangs(point, trade, answerMs)), ...ways])
  await hangAll(
    server,
    wallet,
    cases.map(({ trade }) => trade),
  )
  await kill(server, wallet, answerMs, random)
  await wallet.faults(ways)
}

describe.concurrent(`a kill at each point (seed ${SEED})`, () => {
  test.each(MATRIX)(
    'F-6 of level %s: statuses, balances, entries and letters agree, and no leg is there twice',
    async (level, points, atOnce) => {
      const random = seededRandom(SEED)
      const wallet = await openMemoryWallet(shop, level)
      const trades = tradesApart(1, WARMERS + points.length)
      await fund(wallet, usersOf(trades))
      const start = async () => await openServe(shop, wallet, ['--data-dir', shop.path(level)], HANGING)
      let server = await start()
      await handIn(server, trades.slice(0, WARMERS))
      await atRest(server, WARMERS)
      // Those that are to be answered come last: their time runs from when they are handed in.
      const cases = points
        .toSorted((one, other) => Number(one.when === 'answered') - Number(other.when === 'answered'))
        .map((point, index) => ({ point, trade: trades[WARMERS + index] as RigTrade }))
      for (let done = 0; done < cases.length; done += atOnce) {
        const some = cases.slice(done, done + atOnce)
        await killAt(server, wallet, some, random)
        server = await start()
        await atRest(server, WARMERS + done + some.length)
      }
      await audit(server, wallet, trades)
      for (const { point, trade } of cases) {
        const { settlement_status: status, rollback } = await tradeSeen(server, trade.id)
        const wanted = point.call === 'reverse' ? ['SETTLEMENT_FAILED', 'complete'] : ['SETTLED', 'not_needed']
        expect([status, rollback], JSON.stringify(point)).toEqual(wanted)
      }
      server.signal('SIGTERM')
      expect(await server.ended).toMatchObject({ status: 0 })
    },
  )
})
