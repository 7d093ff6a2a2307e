/**
 * Random calls to the wallet service from many clients at once, each with a connection of its own that is cut at random; a
 * tenth of the calls is made again with the same content and a tenth of the keys used with other; the wallet's connections to
 * its database are ended under it, and the database goes away twice, once in order and once by SIGKILL. What was answered and what is in the books is then put in an order,
 * and the reference model is told all of it and says the same.
 *
 * What this does not show: which moment of those it can have been a refusal saw, if the account was alike at several; and of
 * a settlement that was refused, what it found on the accounts that it does not name.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { openDatabase } from '../../src/db.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/postgres/supervisor.ts'
import { ACCOUNT_BREAKS } from '../../src/verify/accounts.ts'
import { findBreaks } from '../../src/verify/breaks.ts'
import { HOLD_BREAKS } from '../../src/verify/holds.ts'
import { OPERATION_BREAKS } from '../../src/verify/operations.ts'
import { seededRandom, type UpServer, until, type Workshop } from '../support/process.ts'
import { databaseUrlOf, openDurableWallet } from '../support/wallet-rig.ts'
import { assertAgreement } from './wallet-chaos/agreement.ts'
import { assertConserved, assertWhole, readBooks, readTotals } from './wallet-chaos/books.ts'
import { Connection, type Cut } from './wallet-chaos/client.ts'
import { eventsOf } from './wallet-chaos/events.ts'
import { History } from './wallet-chaos/history.ts'
import { inOrder } from './wallet-chaos/order.ts'
import { planOf, type Step } from './wallet-chaos/plan.ts'
import { replay } from './wallet-chaos/replay.ts'
import { readTimes, type Times } from './wallet-chaos/times.ts'
import { requestOf, saidOf } from './wallet-chaos/wire.ts'

export interface WalletChaosOptions {
  readonly operations: number
  readonly seed: number
  /** False: no call says anything of a hold. */
  readonly holds: boolean
}

export interface WalletChaosResult extends WalletChaosOptions {
  readonly campaign: 'wallet-chaos'
  readonly seconds: number
  /** Calls that were made again with the same content, and keys that were used with other. */
  readonly repeated: number
  readonly other: number
  readonly cuts: number
  /** Connections of the wallet to its database that were ended under it. */
  readonly database_cuts: number
  /** Answers that said to try again, while the database was away. */
  readonly unanswered: number
  readonly restarts: readonly ('fast' | 'killed')[]
  readonly applied: number
  readonly refused: number
  readonly reversed: number
  readonly entries: number
  readonly answered_again: number
  readonly key_reused: number
  readonly events: number
  readonly lacking_both: number
}

const CLIENTS = 32
/** Of a hundred calls. */
const CUTS: readonly (readonly [percent: number, Cut])[] = [
  [3, 'within'],
  [4, 'after'],
  [5, 'waiting'],
]
/** The longest that a call is made again and again. */
const PATIENCE_MS = 60_000
/** The most between two attempts; while the database is away it is not asked without pause. */
const PAUSE_MS = { cut: 20, away: 150 } as const

interface Counts {
  cuts: number
  database_cuts: number
  unanswered: number
}

export async function walletChaos(shop: Workshop, options: WalletChaosOptions): Promise<WalletChaosResult> {
  const { operations, seed, holds } = options
  const plan = planOf(seed, operations, holds)
  const dataDir = shop.path(`wallet-chaos-${seed}-${holds}`)
  let postgres = await startEmbeddedPostgres({ dataDir })
  try {
    const url = await databaseUrlOf(dataDir)
    const wallet = await openDurableWallet(shop, 'settlements', ['--database-url', url])
    const history = new History()
    const counts: Counts = { cuts: 0, database_cuts: 0, unanswered: 0 }
    const beganMs = performance.now()
    const queue = queueOf(plan.steps)
    const clients = Array.from({ length: CLIENTS }, (_, at) =>
      client(wallet, queue, history, counts, seededRandom(seed * 1000 + at)),
    )
    const restarts = ['fast', 'killed'] as const
    const restarted = (async () => {
      for (const [at, how] of restarts.entries()) {
        await until('some more calls are made', async () => queue.share() > (at + 1) / 3, 300_000)
        postgres = await restart(postgres, dataDir, how)
        assertConserved(await until('the wallet answers again', async () => await readTotals(wallet).catch(() => null)))
      }
    })()
    await Promise.all([...clients, restarted, cutDatabase(url, queue, counts, seededRandom(seed))])
    const seconds = Math.round((performance.now() - beganMs) / 100) / 10

    const checked = await checkedBooks(wallet, history, await readTimes(url))
    const { books } = checked
    assert.deepEqual(await breaksIn(url), [])
    assert.ok(!wallet.hasEnded(), 'the wallet outlives its database')
    wallet.signal('SIGTERM')
    assert.equal((await wallet.ended).status, 0)
    const views = [...books.keys.values()]
    return {
      campaign: 'wallet-chaos',
      ...options,
      seconds,
      repeated: plan.repeated,
      other: plan.other,
      ...counts,
      restarts,
      applied: views.filter(({ status }) => status === 'applied').length,
      refused: views.filter(({ problem }) => problem !== undefined).length,
      reversed: views.filter(({ status }) => status === 'reversed').length,
      entries: [...books.accounts.values()].reduce((sum, { entries }) => sum + entries.length, 0),
      answered_again: checked.replayed,
      key_reused: checked.reused,
      events: checked.events,
      lacking_both: checked.lacking_both,
    }
  } finally {
    await postgres.stop()
  }
}

async function checkedBooks(wallet: UpServer, history: History, times: Times) {
  const books = await readBooks(wallet, history.keys())
  try {
    assertWhole(books)
    const agreement = assertAgreement(history, books)
    const events = inOrder(eventsOf(history, books, times), books)
    return { books, ...agreement, ...(await replay(events, books)) }
  } catch (error) {
    // No second run is the same, so all there is to know has to be told now.
    const message = error instanceof Error ? error.message : String(error)
    throw new Error(`${message}\n\n${history.told(message.match(/chaos-[0-9]+/g) ?? [])}`, { cause: error })
  }
}

interface Queue {
  next(): Step | undefined
  /** How much of it has been taken. */
  share(): number
}

function queueOf(steps: readonly Step[]): Queue {
  let at = 0
  return { next: () => steps[at++], share: () => at / steps.length }
}

async function client(
  wallet: UpServer,
  queue: Queue,
  history: History,
  counts: Counts,
  random: () => number,
): Promise<void> {
  const connection = new Connection(wallet.url)
  try {
    for (let step = queue.next(); step !== undefined; step = queue.next()) {
      if (step.after !== null) await history.answered(step.after)
      await answer(connection, step, history, counts, random)
    }
  } finally {
    connection.close()
  }
}

/** Makes a call until all of it is answered. */
async function answer(
  connection: Connection,
  step: Step,
  history: History,
  counts: Counts,
  random: () => number,
): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (true) {
    assert.ok(performance.now() < giveUpAt, `no answer in ${PATIENCE_MS} ms: ${requestOf(step, false)}`)
    const cut = cutOf(random() * 100)
    const sent = history.tick()
    const came = await connection.call(requestOf(step, random() < 0.2), cut, random)
    const answered = history.tick()
    if (came === null) {
      assert.ok(cut !== null, `the wallet has cut a connection: ${requestOf(step, false)}`)
      counts.cuts++
    }
    const said = came === null ? null : saidOf(step, came)
    for (const [at, item] of step.items.entries()) history.record({ item, sent, answered, said: said?.[at] ?? null })
    if (said?.every(each => each !== null) === true) return
    if (came !== null) counts.unanswered++
    await delay(random() * PAUSE_MS[came === null ? 'cut' : 'away'])
  }
}

function cutOf(luck: number): Cut | null {
  let sum = 0
  for (const [percent, cut] of CUTS) {
    sum += percent
    if (luck < sum) return cut
  }
  return null
}

/** The wallet's database goes away under it, and is there again a moment later. */
async function restart(running: EmbeddedPostgres, dataDir: string, how: 'fast' | 'killed'): Promise<EmbeddedPostgres> {
  if (how === 'killed') {
    process.kill(running.serverPid, 'SIGKILL')
    await running.lost
  }
  await running.stop()
  return await startEmbeddedPostgres({ dataDir })
}

/** Ends connections of the wallet to its database, one at a time, wherever their transactions are. */
async function cutDatabase(url: string, queue: Queue, counts: Counts, random: () => number): Promise<void> {
  const database = openDatabase({ url }, 1)
  try {
    while (queue.share() < 1) {
      await delay(random() * 120)
      const { rows } = await database.query<{ readonly cut: boolean }>(CUT, [random()]).catch(() => ({ rows: [] }))
      counts.database_cuts += rows.length
    }
  } finally {
    await database.end()
  }
}

/** One that is at work, if any is. */
const CUT = `
  with busy as (
    select pid, row_number() over (order by pid) - 1 as at, count(*) over () as all_of_them
    from pg_stat_activity
    where application_name = 'legwork'
      and state <> 'idle'
      and pid <> pg_backend_pid()
  )
  select pg_terminate_backend(pid) as cut
  from busy
  where at = floor($1::float8 * all_of_them)`

/** What `legwork verify` finds in the tables of the wallet; that there are no trades is not held against it. */
async function breaksIn(url: string): Promise<readonly unknown[]> {
  const database = openDatabase({ url }, 1)
  const connection = await database.connect()
  try {
    const found: unknown[] = []
    for (const check of [ACCOUNT_BREAKS, HOLD_BREAKS, OPERATION_BREAKS]) {
      found.push(...(await findBreaks(connection, check)).examples)
    }
    return found
  } finally {
    connection.release()
    await database.end()
  }
}
