/**
 * What holds cost the built-in ledger, in the same process: settlements of five legs, both debits of each drawing on holds,
 * and as many new holds beside them, for those that come next; in turn with the same settlements without any hold, on the same
 * PostgreSQL, everything durable. A busy machine changes the figures, and hardly their ratio.
 *
 *   node bench/holds.bench.ts --settlements 200 --lanes 4 --rounds 50 --turns 5
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { loadConfig } from '../src/config.ts'
import { createLogger } from '../src/log.ts'
import { openConfiguredDatabase } from '../src/main.ts'
import { migrate } from '../src/migrate.ts'
import { createLedgerWallet } from '../src/wallet/ledger-wallet.ts'
import type { BookedWallet, Hold, Movement, Outcome, SettlementCall } from '../src/wallet/wallet.ts'

export interface HoldsBenchOptions {
  /** Of a round, with as many holds: even. They are handed in at one moment. */
  readonly settlements: number
  /** Rounds under way at the same time. */
  readonly lanes: number
  /** Of each lane, in each turn. */
  readonly rounds: number
  /** How often each way is measured. */
  readonly turns: number
}

interface Figures {
  /** Settlements; each of `held` comes with one hold that is placed and two that are drawn on. */
  readonly per_second: number
  /** Of this process for a settlement, PostgreSQL's not among it. */
  readonly cpu_us: number
}

export interface HoldsBenchResult {
  readonly bench: 'holds'
  readonly node: string
  readonly cpu: string
  readonly parameters: HoldsBenchOptions
  /** The middle of all turns. */
  readonly plain: Figures
  readonly held: Figures
  /** How long a settlement takes with holds, as a multiple of one without: the middle of all pairs of turns. */
  readonly held_to_plain: number
}

const USERS = 200
const FILL = { USDT: 5_000_000_000n, BTC: 100_000n } as const

export async function bench(options: HoldsBenchOptions): Promise<HoldsBenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  const { config } = loadConfig({ path: null, env: {}, flags: { data_dir: folder }, cwd: folder })
  const log = createLogger('warn')
  const opened = await openConfiguredDatabase(config, log)
  try {
    await migrate(opened.database, 'ledger')
    const { feeUserId } = config.settlement
    const instruments = { assets: new Map(config.assets.map(asset => [asset.code, asset])), markets: new Map() }
    const { database } = opened
    const wallet = createLedgerWallet({ database, instruments, clock: systemClock(), feeUserId, log })
    await fundUsers(wallet)
    const turn = (name: string, isHeld: boolean) => measure({ wallet, feeUserId, name, isHeld }, options)
    await turn('warm', false)
    await turn('warm held', true)
    const pairs: { readonly plain: Figures; readonly held: Figures }[] = []
    for (let at = 0; at < options.turns; at++) {
      pairs.push({ plain: await turn(`plain ${at}`, false), held: await turn(`held ${at}`, true) })
    }
    return {
      bench: 'holds',
      node: process.version,
      cpu: `${cpus().length} × ${cpus()[0]?.model}`,
      parameters: options,
      plain: middleOf(pairs.map(({ plain }) => plain)),
      held: middleOf(pairs.map(({ held }) => held)),
      held_to_plain: middle(
        pairs.map(({ plain, held }) => Math.round((plain.per_second / held.per_second) * 100) / 100),
      ),
    }
  } finally {
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
}

interface Turn {
  readonly wallet: BookedWallet
  readonly feeUserId: string
  /** Its keys begin so. */
  readonly name: string
  readonly isHeld: boolean
}

async function measure(turn: Turn, { settlements, lanes, rounds }: HoldsBenchOptions): Promise<Figures> {
  const before = process.cpuUsage()
  const started = performance.now()
  await Promise.all(Array.from({ length: lanes }, (_, lane) => runLane(turn, lane, settlements, rounds)))
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage(before)
  const count = settlements * lanes * rounds
  return { per_second: Math.round((count / ms) * 1000), cpu_us: Math.round((user + system) / count) }
}

/** In each round the settlements draw on the holds of the round before, two on each, which closes it. */
async function runLane(turn: Turn, lane: number, settlements: number, rounds: number): Promise<void> {
  const { wallet, name, isHeld } = turn
  const place = (holds: readonly Hold[]): Promise<readonly Outcome[]> =>
    Promise.all(holds.map(hold => wallet.hold(hold)))
  const holdsOf = (round: number): readonly Hold[] =>
    isHeld ? Array.from({ length: settlements }, (_, at) => holdOf(`${name} ${lane} ${round}`, at, settlements)) : []
  expectApplied(await place(holdsOf(0)))
  for (let round = 0; round < rounds; round++) {
    const calls = Array.from({ length: settlements }, (_, at) =>
      settlementOf(turn, `${lane} ${round}`, at, settlements),
    )
    const [placed, settled] = await Promise.all([
      place(holdsOf(round + 1)),
      Promise.all(calls.map(call => wallet.settle(call))),
    ])
    expectApplied(placed)
    expectApplied(settled)
  }
}

/** The first half are of buyers, the second of sellers. */
function holdOf(of: string, at: number, settlements: number): Hold {
  const half = settlements / 2
  const currency = at < half ? 'USDT' : 'BTC'
  const userId = at < half ? buyerAt(at) : sellerAt(at - half)
  return { key: `${of} hold ${at}`, userId, currency, amount: 2n * FILL[currency] }
}

function settlementOf({ name, feeUserId, isHeld }: Turn, of: string, at: number, settlements: number): SettlementCall {
  const half = settlements / 2
  const [buyer, seller] = [at % half, (at * 7) % half]
  const reason = 'TRADE_SETTLEMENT'
  const holding = (hold: number) => (isHeld ? { hold: `${name} ${of} hold ${hold}` } : {})
  const fee = FILL.USDT / 1000n
  const legs: readonly Movement[] = [
    { type: 'debit', userId: buyerAt(buyer), currency: 'USDT', amount: FILL.USDT, reason, ...holding(buyer) },
    { type: 'credit', userId: buyerAt(buyer), currency: 'BTC', amount: FILL.BTC, reason },
    { type: 'debit', userId: sellerAt(seller), currency: 'BTC', amount: FILL.BTC, reason, ...holding(half + seller) },
    { type: 'credit', userId: sellerAt(seller), currency: 'USDT', amount: FILL.USDT - fee, reason },
    { type: 'credit', userId: feeUserId, currency: 'USDT', amount: fee, reason: 'FEE_COLLECTION' },
  ]
  return { key: `${name} ${of} settlement ${at}`, tradeId: idOf(at), legs }
}

function buyerAt(at: number): string {
  return idOf(at % (USERS / 2))
}

function sellerAt(at: number): string {
  return idOf(USERS / 2 + (at % (USERS / 2)))
}

function idOf(at: number): string {
  return `00000000-0000-4000-8000-${at.toString(16).padStart(12, '0')}`
}

async function fundUsers(wallet: BookedWallet): Promise<void> {
  const deposits = Array.from({ length: USERS }, (_, at) => idOf(at)).flatMap(userId =>
    (['BTC', 'USDT'] as const).map(currency => {
      const of = { tradeId: null, userId, currency, amount: 10n ** 20n } as const
      return wallet.apply({ key: `${userId} ${currency}`, type: 'credit', ...of, reason: 'DEPOSIT' })
    }),
  )
  expectApplied(await Promise.all(deposits))
}

function expectApplied(outcomes: readonly Outcome[]): void {
  const other = outcomes.find(({ outcome }) => outcome !== 'applied')
  if (other !== undefined)
    throw new Error(JSON.stringify(other, (_, value) => (typeof value === 'bigint' ? `${value}` : value)))
}

function middleOf(figures: readonly Figures[]): Figures {
  return { per_second: middle(figures.map(each => each.per_second)), cpu_us: middle(figures.map(each => each.cpu_us)) }
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      settlements: { type: 'string', default: '200' },
      lanes: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '50' },
      turns: { type: 'string', default: '5' },
    },
  })
  const { settlements, lanes, rounds, turns } = values
  const result = await bench({ settlements: +settlements, lanes: +lanes, rounds: +rounds, turns: +turns })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
