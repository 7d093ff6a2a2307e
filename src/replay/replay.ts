/**
 * Recorded trades of a real market, settled as if they happened now. The file is read once for its places and for what
 * each user has to be funded with, and once for its trades. Ids and keys follow from the file, so whatever a replay that
 * was killed has done is a duplicate to the next.
 */
import type { Clock } from '../clock.ts'
import { feeOf } from '../core/fees.ts'
import { marketOf } from '../core/instruments.ts'
import { formatDecimal } from '../core/money.ts'
import { acceptTrade, type Trade, type TradeFault, withFees } from '../core/trade.ts'
import type { InstrumentStore } from '../store/instruments.ts'
import type { NewTrade, Store } from '../store/store.ts'
import type { Wallet } from '../wallet/wallet.ts'
import type { TradeIntake } from '../worker/intake.ts'
import type { WorkerPool } from '../worker/pool.ts'
import { type Cast, createCast, depositKey, tradeId } from './cast.ts'
import { makeMarkets } from './markets.ts'
import type { Outstanding, Tally } from './outstanding.ts'
import { createStakes, type Stake } from './stakes.ts'
import {
  type RecordedTrade,
  readTradeFile,
  surveyTradeFile,
  TradeFileError,
  type TradeFileOptions,
} from './trade-file.ts'

export interface ReplayOptions {
  readonly file: TradeFileOptions
  readonly users: number
  readonly seed: number
  /** Stops at the first line that can't be read. */
  readonly strict: boolean
  readonly feeUserId: string
  readonly instruments: InstrumentStore
  readonly wallet: Wallet
  readonly store: Store
  readonly intake: TradeIntake
  /** Not started. */
  readonly pool: Pick<WorkerPool, 'start'>
  /** Told of every end by the workers. */
  readonly outstanding: Outstanding
  readonly clock: Clock
  /** How many trades a call hands in. */
  readonly batch: number
  /** Ends the replay between two calls; what was handed in goes on. Before the first, its reason is thrown. */
  readonly signal: AbortSignal
  onRejected(line: number, reason: string): void
  onProgress(done: number, total: number): void
}

export interface ReplayResult {
  /** Taken now or before; lines that were rejected are left out. */
  readonly trades: number
  readonly duplicates: number
  readonly pending: number
  readonly rejected: number
  readonly tally: Tally
  /** Of the settling alone. */
  readonly seconds: number
  readonly volume: readonly Volume[]
  /** The message of a file that is cut. */
  readonly cut: string | null
  readonly stoppedAtFault: boolean
}

export interface Volume {
  readonly symbol: string
  readonly trades: number
  /** Decimal text. */
  readonly quantity: string
  readonly notional: string
}

/** The id of a trade of the file was seen before with other content. */
export class ReplayConflictError extends Error {
  readonly code = 'TRADE_ID_REUSED'
}

/** A user of the replay could not be funded. */
export class FundingError extends Error {
  readonly code = 'FUNDING_FAILED'
}

/** Throws what `readTradeFile` throws, save for a cut file, and `ReplayConflictError` or `FundingError`. */
export async function replay(options: ReplayOptions): Promise<ReplayResult> {
  const castOf = castsOf(options)
  const stakes = createStakes(castOf)
  const survey = await surveyTradeFile(options.file, trade => stakes.add(trade), options.signal)
  const made = makeMarkets(options.instruments, survey.markets)
  await options.instruments.add(made.assets, made.markets)
  await fund(
    options,
    survey.fingerprint,
    stakes.list(symbol => options.instruments.markets.get(symbol)),
  )
  // Not before: amounts in hand are in units of a scale that the file may just have made finer.
  options.pool.start()
  const run = createRun(options, survey.fingerprint, survey.trades, castOf)
  const startMs = options.clock.now()
  await run.handIn()
  if (!options.signal.aborted) await run.finish()
  return run.result((options.clock.now() - startMs) / 1000)
}

function castsOf({ seed, users }: ReplayOptions): (symbol: string) => Cast {
  const casts = new Map<string, Cast>()
  return market => {
    const cast = casts.get(market) ?? createCast({ seed, users, market })
    casts.set(market, cast)
    return cast
  }
}

async function fund(
  { wallet, seed, instruments }: ReplayOptions,
  fingerprint: string,
  stakes: readonly Stake[],
): Promise<void> {
  const deposits = stakes.map(async ({ userId, currency, amount }) => {
    const key = depositKey(seed, fingerprint, userId, currency, amount)
    const deposit = { key, tradeId: null, type: 'credit', userId, currency, amount, reason: 'DEPOSIT' } as const
    const outcome = await wallet.apply(deposit)
    if (outcome.outcome === 'applied') return
    const scale = instruments.assets.get(currency)?.scale ?? 0
    throw new FundingError(
      `user ${userId} could not be funded with ${formatDecimal(amount, scale)} ${currency}: ${outcome.code}, ${outcome.detail}`,
    )
  })
  await Promise.all(deposits)
}

/** Calls under way at once: one is written while the next is made ready. */
const CALLS_AT_ONCE = 2

function createRun(options: ReplayOptions, fingerprint: string, total: number, castOf: (symbol: string) => Cast) {
  const { instruments, outstanding, signal, strict } = options
  const volumes = new Map<string, { trades: number; quantity: bigint; notional: bigint }>()
  const counts = { trades: 0, duplicates: 0, rejected: 0 }
  let cut: string | null = null
  let stoppedAtFault = false
  let batch: NewTrade[] = []
  const underWay = new Set<Promise<void>>()
  // The first of the calls that failed; they are not all awaited where they are made.
  let failure: { readonly error: unknown } | null = null

  async function handIn(): Promise<void> {
    try {
      for await (const events of readTradeFile(options.file)) {
        for (const event of events) {
          if (event.kind === 'trade') await take(event.trade)
          else reject(event.line, event.reason)
          if (signal.aborted || stoppedAtFault) break
        }
        if (signal.aborted || stoppedAtFault) break
      }
    } catch (error) {
      if (!(error instanceof TradeFileError) || error.code !== 'FILE_CUT') throw error
      cut = error.message
    }
    await send()
    await Promise.all(underWay)
    if (failure !== null) throw failure.error
  }

  function reject(line: number, reason: string): void {
    counts.rejected++
    options.onRejected(line, reason)
    stoppedAtFault = strict
  }

  async function take(recorded: RecordedTrade): Promise<void> {
    const { line, symbol } = recorded
    const id = tradeId(options.seed, symbol, fingerprint, line)
    const accepted = tradeOf(recorded, id, castOf(symbol), options)
    if ('faults' in accepted) {
      reject(line, accepted.faults.map(({ field, detail }) => `${field}: ${detail}`).join('; '))
      return
    }
    batch.push({ trade: accepted.trade, isTimeGiven: recorded.executedAtMs !== null })
    if (batch.length >= options.batch) await send()
  }

  async function send(): Promise<void> {
    const trades = batch
    batch = []
    if (trades.length === 0) return
    const call: Promise<void> = give(trades)
      .catch((error: unknown) => {
        failure ??= { error }
      })
      .finally(() => underWay.delete(call))
    underWay.add(call)
    if (underWay.size >= CALLS_AT_ONCE) await Promise.race(underWay)
    if (failure !== null) throw failure.error
  }

  async function give(trades: readonly NewTrade[]): Promise<void> {
    for (const { trade } of trades) outstanding.expect(trade.id)
    const { duplicates, reusedIds } = await options.intake.take(trades)
    if (reusedIds.length > 0) {
      throw new ReplayConflictError(
        `trade ${reusedIds[0]} of this file is known here with other content: it was replayed with other users or fees; ` +
          'take another --seed or another --data-dir',
      )
    }
    for (const { id, status } of duplicates) outstanding.known(id, status)
    counts.duplicates += duplicates.length
    for (const { trade } of trades) count(trade)
    options.onProgress(counts.trades + counts.rejected - outstanding.ids().length, total)
  }

  function count(trade: Trade): void {
    counts.trades++
    const volume = volumes.get(trade.symbol) ?? { trades: 0, quantity: 0n, notional: 0n }
    volume.trades++
    volume.quantity += trade.quantity
    volume.notional += trade.notional
    volumes.set(trade.symbol, volume)
  }

  /** Waits for every end; also for those that another process brings about. */
  async function finish(): Promise<void> {
    for (let isDone = outstanding.ids().length === 0; !isDone && !signal.aborted; ) {
      isDone = await Promise.race([outstanding.below(1).then(() => true), pause(options.clock).then(() => false)])
      options.onProgress(counts.trades + counts.rejected - outstanding.ids().length, total)
      if (isDone) break
      for (const [id, status] of await options.store.statuses(outstanding.ids().slice(0, 1000))) {
        outstanding.known(id, status)
      }
    }
  }

  const result = (seconds: number): ReplayResult => ({
    ...counts,
    pending: outstanding.ids().length,
    tally: outstanding.tally(),
    seconds,
    volume: [...volumes].map(([symbol, { trades, quantity, notional }]) => {
      const { base, quote } = marketOf(instruments, symbol)
      return {
        symbol,
        trades,
        quantity: formatDecimal(quantity, base.scale),
        notional: formatDecimal(notional, quote.scale),
      }
    }),
    cut,
    stoppedAtFault,
  })

  return { handIn, finish, result }
}

const LOOK_MS = 250

function pause(clock: Clock): Promise<void> {
  return new Promise(resolve => {
    clock.after(LOOK_MS, resolve)
  })
}

/** The trade of a line between two users of the cast, with the fees of its market: maker or taker, as the file says. */
function tradeOf(
  { symbol, price, quantity, isBuyerMaker, executedAtMs, line }: RecordedTrade,
  id: string,
  cast: Cast,
  { instruments, feeUserId, clock }: ReplayOptions,
): { readonly trade: Trade } | { readonly faults: readonly TradeFault[] } {
  const market = instruments.markets.get(symbol)
  const input = {
    id,
    symbol,
    ...cast.sidesOf(line),
    price,
    quantity,
    buyerFee: '0',
    sellerFee: '0',
    isBuyerMaker,
    buyerOrderId: null,
    sellerOrderId: null,
    executedAtMs: executedAtMs ?? clock.now(),
  }
  const accepted = acceptTrade(input, market, feeUserId)
  if ('faults' in accepted || market === undefined) return accepted
  const { trade } = accepted
  const rate = (isMaker: boolean): string => (isMaker ? market.makerFee : market.takerFee)
  // Where the file does not say who was the maker, the buyer pays as the taker.
  const buyerFee = feeOf(trade.notional, rate(isBuyerMaker === true))
  const sellerFee = feeOf(trade.notional, rate(isBuyerMaker !== true))
  return withFees(trade, market, buyerFee, sellerFee)
}
