import { systemClock } from '../../clock.ts'
import type { Config } from '../../config.ts'
import type { Rail } from '../../core/settlement.ts'
import { createLogger } from '../../log.ts'
import { createSettlement, type OpenDatabase, openConfiguredDatabase } from '../../main.ts'
import { createOutstanding } from '../../replay/outstanding.ts'
import { type ReplayResult, replay } from '../../replay/replay.ts'
import { checkTradeFile, type TradeFileFormat, type TradeFileOptions } from '../../replay/trade-file.ts'
import { renderReport } from '../../verify/render.ts'
import { type VerifyReport, verifyBooks } from '../../verify/verify.ts'
import { settlingConfigOf } from '../config.ts'
import { EXIT, type ExitStatus } from '../exit-status.ts'
import { watchLoss } from '../loss.ts'
import type { CommonOptions } from '../main.ts'
import { createProgressBar } from '../progress.ts'
import { INTERRUPTED, interruption } from '../signals.ts'

export interface ReplayCommandOptions extends CommonOptions {
  readonly market?: string
  readonly format: TradeFileFormat
  readonly users: number
  readonly seed: number
  readonly rail?: string
  readonly strict?: true
}

interface RejectedLine {
  readonly file: string
  readonly line: number
  readonly reason: string
}

/** The most rejected lines that the result names; all of them go to standard error. */
const MOST_ERRORS = 100
/** Trades a call hands in: enough for a good batch, few enough that two calls leave room in the window. */
const MOST_IN_CALL = 250
const STOP_MS = 10_000

/** `legwork replay FILE`. */
export async function replayCommand(file: string, options: ReplayCommandOptions): Promise<ExitStatus> {
  const config = settlingConfigOf(options)
  const tradeFile: TradeFileOptions = { path: file, format: options.format, market: options.market ?? null }
  await checkTradeFile(tradeFile)
  const signal = interruption()
  const opened = await openConfiguredDatabase(config, createLogger('warn'))
  try {
    return await settleFile(tradeFile, options, { config, opened, signal })
  } finally {
    await opened.close()
  }
}

interface Surroundings {
  readonly config: Config
  readonly opened: OpenDatabase
  readonly signal: AbortSignal
}

async function settleFile(
  file: TradeFileOptions,
  options: ReplayCommandOptions,
  { config, opened, signal }: Surroundings,
): Promise<ExitStatus> {
  const loss = watchLoss(opened)
  const outstanding = createOutstanding()
  const errors: RejectedLine[] = []
  const bar = createProgressBar('settling')
  const settlement = await createSettlement({
    config,
    opened,
    log: createLogger('warn'),
    waitsForRoom: true,
    onEnd: ({ id }, { status }, latencyMs) => outstanding.ended(id, status, latencyMs),
  })
  try {
    const result = await replay({
      ...settlement,
      file,
      users: options.users,
      seed: options.seed,
      strict: options.strict === true,
      feeUserId: config.settlement.feeUserId,
      outstanding,
      clock: systemClock(),
      batch: Math.max(1, Math.min(MOST_IN_CALL, Math.floor(config.settlement.queueCapacity / 4))),
      signal,
      onRejected: (line, reason) => {
        process.stderr.write(`${file.path}:${line}: ${reason}\n`)
        if (errors.length < MOST_ERRORS) errors.push({ file: file.path, line, reason })
      },
      onProgress: (done, total) => bar.show(done, total),
    })
    bar.stop(`${counted(result.tally.settled, 'trade')} settled`)
    if (result.stoppedAtFault) say('stopped at this line (--strict); none after it was taken')
    if (result.cut !== null) say(result.cut)
    await settlement.pool.stop(STOP_MS)
    const report = await verifyBooks(opened.database, {
      deadLettersEnabled: config.settlement.deadLetterQueueEnabled,
    })
    const print = options.json === true ? jsonOf : textOf
    process.stdout.write(print(result, report, errors, settlement.rail))
    if (signal.aborted) say(INTERRUPTED)
    return statusOf(result, report, signal.aborted)
  } catch (error) {
    throw await loss.behind(error)
  } finally {
    await settlement.pool.stop(loss.isKnown() ? 0 : STOP_MS)
  }
}

function say(message: string): void {
  process.stderr.write(`legwork: ${message}\n`)
}

function statusOf(result: ReplayResult, report: VerifyReport, interrupted: boolean): ExitStatus {
  if (interrupted) return EXIT.interrupted
  const isWhole = result.cut === null && !result.stoppedAtFault && result.tally.failed === 0 && result.pending === 0
  if (!isWhole || report.breaks > 0 || report.conserved !== true) return EXIT.failed
  return result.rejected > 0 ? EXIT.inPart : EXIT.done
}

function perSecond({ tally, seconds }: ReplayResult): number {
  return seconds > 0 ? Math.round(tally.fresh / seconds) : 0
}

/** One line, as http-api.md has it. */
function jsonOf(result: ReplayResult, report: VerifyReport, errors: readonly RejectedLine[], rail: Rail): string {
  const { trades, duplicates, pending, rejected, tally, seconds, volume } = result
  return `${JSON.stringify({
    trades,
    duplicates,
    settled: tally.settled,
    failed: tally.failed,
    pending,
    rejected,
    errors,
    conserved: report.conserved,
    breaks: report.breaks,
    seconds: Math.round(seconds * 1000) / 1000,
    per_second: perSecond(result),
    latency_ms: tally.latencyMs,
    rail,
    volume,
    totals: report.totals,
  })}\n`
}

function textOf(result: ReplayResult, report: VerifyReport, _errors: readonly RejectedLine[], rail: Rail): string {
  const { trades, duplicates, pending, rejected, tally, seconds, volume } = result
  const lines = [
    `${counted(trades, 'trade')} on the ${rail} rail: ${grouped(tally.settled)} settled, ${grouped(tally.failed)} failed, ${grouped(pending)} pending`,
    `${grouped(duplicates)} of them known before; ${counted(rejected, 'line')} rejected`,
    `${grouped(tally.fresh)} settled now in ${seconds.toFixed(1)} s, ${grouped(perSecond(result))} a second; from recorded to settled ${tally.latencyMs.p50} ms (median), ${tally.latencyMs.p99} ms (99 %)`,
    ...volume.map(each => `${each.symbol}: ${each.quantity} traded for ${each.notional}`),
  ]
  return `${lines.join('\n')}\n\nThe whole data folder, recomputed from its tables:\n${renderReport(report)}`
}

function grouped(number: number): string {
  return number.toLocaleString('en')
}

function counted(number: number, noun: string): string {
  return `${grouped(number)} ${noun}${number === 1 ? '' : 's'}`
}
