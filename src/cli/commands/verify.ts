import { codeOf } from '../../db.ts'
import { createLogger } from '../../log.ts'
import { openExistingDatabase } from '../../main.ts'
import { renderReport } from '../../verify/render.ts'
import { type VerifyReport, verifyBooks } from '../../verify/verify.ts'
import { configOf } from '../config.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import type { CommonOptions } from '../main.ts'

export interface VerifyCommandOptions extends CommonOptions {
  readonly walletUrl?: string
}

const UNDEFINED_TABLE = '42P01'

/** `legwork verify`: also while a server runs on the same data folder. */
export async function verifyCommand(options: VerifyCommandOptions): Promise<ExitStatus> {
  const config = configOf(options)
  const opened = await openExistingDatabase(config, createLogger('warn'))
  if (opened === null) throw new CommandError(EXIT.notFound, `there is no database in ${config.dataDir}`)
  try {
    const report = await verifyBooks(opened.database, {
      deadLettersEnabled: config.settlement.deadLetterQueueEnabled,
      isWalletElsewhere: config.wallet.url !== null,
    })
    process.stdout.write(options.json === true ? jsonOf(report) : renderReport(report))
    return report.breaks === 0 && report.conserved !== false ? EXIT.done : EXIT.failed
  } catch (error) {
    if (codeOf(error) !== UNDEFINED_TABLE) throw error
    throw new CommandError(EXIT.notFound, 'the database holds no tables of Legwork: there is nothing to verify')
  } finally {
    await opened.close()
  }
}

function jsonOf({ examples, ...report }: VerifyReport): string {
  const shown = examples.map(({ tradeId, ...rest }) => ({ trade_id: tradeId, ...rest }))
  return `${JSON.stringify({ ...report, examples: shown })}\n`
}
