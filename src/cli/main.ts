/** The command line: what each command takes, and what it ends with. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { SYMBOL } from '../core/market.ts'
import { EXIT, type ExitStatus } from './exit-status.ts'
import { operatorCommands } from './operator-commands.ts'

/** The options that every command takes, as they were given. */
export interface CommonOptions {
  readonly json?: true
  readonly config?: string
  readonly dataDir?: string
  readonly databaseUrl?: string
}

const VERSION: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version

const EXIT_STATUSES = `
Exit status: 0 done, 1 it failed, 2 wrong usage, 3 not found, 4 bad configuration, 5 conflict (the data folder is in
use), 6 done in part, 7 something needed can't be reached, 130 interrupted.`

const EXAMPLES = [
  ['legwork up', 'the API on http://127.0.0.1:8080, data in ./legwork-data'],
  ['legwork up --port 0 --json', 'on any free port, which the line on standard output names'],
  [
    'legwork serve --wallet-url http://127.0.0.1:8081',
    'settling on a wallet elsewhere (its token: LEGWORK_WALLET_TOKEN)',
  ],
  ['legwork worker --database-url postgres://…', 'more hands for a database that others serve'],
  ['legwork wallet --memory --port 8081', 'a wallet to try things with; --faults FILE makes it go wrong'],
  [
    'legwork conformance --wallet-url https://wallet.example',
    'whether a wallet keeps the protocol, promise by promise',
  ],
  ['legwork replay trades.csv.gz --market BTC/USDT', 'settle recorded trades, then verify the books'],
  ['legwork replay trades.csv --rail saga --json', 'leg by leg; the file names its markets'],
  ['legwork verify', 'check the books, also while a server is at work'],
  ['legwork dead-letters list', 'what stopped and needs a person'],
  ['legwork dead-letters retry --code INSUFFICIENT_BALANCE --reason "funded again"', 'all of one cause'],
  ['legwork keys create --role operator', 'a key for whoever works on dead letters; it is shown once'],
  ['legwork keys revoke 0192f3a4-0000-7000-8000-000000000001', 'and refused from then on'],
  ['legwork entries export --from 2026-11-01T00:00:00Z > entries.csv', 'what the wallet has booked since then'],
  ['legwork status', 'how settlement is doing'],
] as const

const CONFORMANCE = `
It may be run on a wallet in use: all users and keys are new ones, and no other account is touched. It deposits small
amounts for them (one account holds 2^53 + 1 of the smallest unit for a moment) and withdraws them at the end, so the
token must be one that may deposit and withdraw. What stays is about a hundred and fifty empty accounts, their entries
and keys, and the deposits and withdrawals in the totals; what could not be withdrawn it names, account by account.
That the fee account may go below zero is not tried: it is not the kit's own.

Exit status 1: the wallet breaks a promise of a level, or of the holds, that it says it offers.`

function examplesOf(examples: readonly (readonly [command: string, what: string])[]): string {
  const width = Math.max(...examples.map(([command]) => command.length))
  const lines = examples.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`)
  return `\nExamples:\n${lines.join('\n')}\n`
}

/** What the parser finds wrong is said as everything else is: `legwork: …`. */
const OUTPUT = {
  outputError: (text: string, write: (text: string) => void) => write(text.replace(/^error: /, 'legwork: ')),
} as const

function commandWith(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--json', 'machine-readable output, one JSON object a line')
    .option('--config <file>', 'configuration (default: config.yaml here, if there is one)')
    .option('--data-dir <folder>', 'data folder with the embedded PostgreSQL (default: ./legwork-data)')
    .option('--database-url <url>', 'a PostgreSQL (15 or later) of your own in place of the embedded one')
    .exitOverride()
    .configureOutput(OUTPUT)
    .showHelpAfterError(`(legwork ${name} --help shows what can be given)`)
}

function integer(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^-?[0-9]+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

function symbol(text: string): string {
  const name = text.toUpperCase().replace(/[-_]/, '/')
  if (SYMBOL.test(name)) return name
  throw new InvalidArgumentError('It must be BASE/QUOTE, such as BTC/USDT.')
}

/** Runs the command named by the arguments (without node and script); never throws. */
export async function run(args: readonly string[]): Promise<ExitStatus> {
  let status: ExitStatus = EXIT.done
  const program = new Command('legwork')
    .description('The settlement layer for trade engines: every leg of every trade exactly once, or none at all.')
    .version(String(VERSION))
    .exitOverride()
    .configureOutput(OUTPUT)
    .showHelpAfterError('(legwork --help shows what can be given)')
    .addHelpText('after', examplesOf(EXAMPLES) + EXIT_STATUSES)

  program.addCommand(
    commandWith('up', 'everything in one process: HTTP API, settlement and built-in wallet')
      .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
      .option('--port <number>', 'port to listen on, 0 for any free one (default: 8080)')
      .option('--wallet-url <url>', 'a wallet service to settle on in place of the built-in wallet')
      .action(async options => {
        // Each command loads what it needs when it runs: the server is most of the program, and only `up` has one.
        const { upCommand } = await import('./commands/up.ts')
        status = await upCommand(options, String(VERSION))
      }),
  )
  program.addCommand(
    commandWith('serve', 'HTTP API and settlement on a wallet service elsewhere')
      .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
      .option('--port <number>', 'port to listen on, 0 for any free one (default: 8080)')
      .option('--wallet-url <url>', 'the wallet service')
      .action(async options => {
        const { serveCommand } = await import('./commands/serve.ts')
        status = await serveCommand(options, String(VERSION))
      }),
  )
  program.addCommand(
    commandWith('worker', 'settlement alone, beside others on one database')
      .option('--wallet-url <url>', 'a wallet service to settle on in place of the built-in wallet')
      .action(async options => {
        const { workerCommand } = await import('./commands/worker.ts')
        status = await workerCommand(options)
      }),
  )
  program.addCommand(
    commandWith('wallet', 'the wallet service alone, on a database of its own or in memory')
      .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
      .option('--port <number>', 'port to listen on, 0 for any free one (default: 8080)')
      .option('--memory', 'no database: gone when it ends, and no keys but the admin key; for tests and trials')
      .addOption(
        new Option('--level <level>', 'the most it offers')
          .choices(['basic', 'reversals', 'batch', 'settlements'])
          .default('settlements'),
      )
      .option('--no-holds', 'no holds, whatever the level')
      .option('--faults <file>', 'what goes wrong, as docs/faults.md says; with --memory only')
      .action(async options => {
        const { walletCommand } = await import('./commands/wallet.ts')
        status = await walletCommand(options, String(VERSION))
      }),
  )
  program.addCommand(
    commandWith('conformance', 'tries the promises of the wallet protocol on a wallet, and says what level it keeps')
      .option('--wallet-url <url>', 'the wallet service')
      .option('--token <token>', 'its token, which may make deposits (default: LEGWORK_WALLET_TOKEN)')
      .addHelpText('after', CONFORMANCE)
      .action(async options => {
        const { conformanceCommand } = await import('./commands/conformance.ts')
        status = await conformanceCommand(options)
      }),
  )
  program.addCommand(
    commandWith('replay', 'settles recorded trades of a real market and verifies the books')
      .argument('<file>', 'CSV, also .gz, with the columns price and quantity')
      .option('--market <symbol>', 'BASE/QUOTE; needed unless a column names the symbol', symbol)
      .addOption(new Option('--format <format>', 'of the file').choices(['auto', 'legwork', 'binance']).default('auto'))
      .option('--users <number>', 'how many users trade', integer(2, 100_000), 200)
      .option('--seed <number>', 'who trades with whom', integer(0, Number.MAX_SAFE_INTEGER), 1)
      .addOption(new Option('--rail <rail>', 'how legs reach the wallet').choices(['auto', 'atomic', 'saga']))
      .option('--strict', "stop at the first line that can't be read")
      .action(async (file, options) => {
        const { replayCommand } = await import('./commands/replay.ts')
        status = await replayCommand(file, options)
      }),
  )
  program.addCommand(
    commandWith('verify', 'recomputes everything from the tables; any difference is a break')
      .option('--wallet-url <url>', 'trades are settled on a wallet service, whose books are not looked at')
      .action(async options => {
        const { verifyCommand } = await import('./commands/verify.ts')
        status = await verifyCommand(options)
      }),
  )
  for (const command of operatorCommands(commandWith, ended => {
    status = ended
  })) {
    program.addCommand(command)
  }
  for (const command of program.commands) {
    const own = EXAMPLES.filter(([example]) => example.startsWith(`legwork ${command.name()}`))
    command.addHelpText('after', examplesOf(own) + EXIT_STATUSES)
  }

  try {
    await program.parseAsync([...args], { from: 'user' })
    return status
  } catch (error) {
    // Commander has said what is wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
    // It knows the errors of all parts of the program, which a command that goes well need not load.
    const { describeFailure } = await import('./failure.ts')
    const failure = describeFailure(error)
    process.stderr.write(`legwork: ${failure.message}\n`)
    return failure.status
  }
}
