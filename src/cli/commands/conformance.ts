import { randomBytes } from 'node:crypto'
import { styleText } from 'node:util'
import { KitError, runConformance } from '../../conformance/kit.ts'
import { createRenderer, isKept, jsonOf, type Paint } from '../../conformance/render.ts'
import { configOf } from '../config.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import type { CommonOptions } from '../main.ts'
import { interruption } from '../signals.ts'

export interface ConformanceCommandOptions extends CommonOptions {
  readonly walletUrl?: string
  readonly token?: string
}

const STATUS: Readonly<Record<KitError['kind'], ExitStatus>> = {
  unreachable: EXIT.unreachable,
  locked_out: EXIT.configuration,
  unusable: EXIT.configuration,
}

/** `legwork conformance`: fails where a wallet does not keep a promise of what it says it offers. */
export async function conformanceCommand(options: ConformanceCommandOptions): Promise<ExitStatus> {
  const config = configOf(options)
  const { url } = config.wallet
  const token = options.token ?? config.wallet.token
  if (url === null) throw new CommandError(EXIT.usage, 'name the wallet with --wallet-url')
  if (token === null) throw new CommandError(EXIT.usage, 'no token: set LEGWORK_WALLET_TOKEN, or give --token')
  const about = { url: url.replace(/\/+$/, ''), run: randomBytes(6).toString('hex') }
  const isJson = options.json === true
  const renderer = createRenderer(about, paint)
  const say = (text: string): void => {
    if (!isJson) process.stdout.write(text)
  }
  const signal = interruption()
  try {
    const report = await runConformance({
      ...{ ...about, token, assumed: config.assets, signal },
      onClaims: claims => say(renderer.head(claims)),
      onFinding: finding => say(renderer.finding(finding)),
    })
    process.stdout.write(isJson ? `${jsonOf(report, about)}\n` : renderer.end(report))
    return isKept(report) ? EXIT.done : EXIT.failed
  } catch (error) {
    if (error instanceof KitError) throw new CommandError(STATUS[error.kind], error.message)
    if (signal.aborted)
      throw new CommandError(EXIT.interrupted, 'interrupted; what was deposited has been withdrawn as far as possible')
    throw error
  }
}

/** As the terminal and the environment want it; nothing where it goes to a file. */
const paint: Paint = (colour, text) => styleText(colour, text, { stream: process.stdout })
