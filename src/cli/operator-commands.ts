/** What the commands of operators take: they go through the admin API of a running server. */
import { Command, InvalidArgumentError, Option } from 'commander'
import type { ExitStatus } from './exit-status.ts'

/** Makes a command with the options that all have. */
type MakeCommand = (name: string, description: string) => Command

const KINDS = ['settlement', 'fee']
const ROLLBACKS = ['not_needed', 'complete', 'incomplete']
const FORMATS = ['csv', 'ndjson']
const ROLES = ['viewer', 'trader', 'operator', 'admin']

function rate(text: string): number {
  const value = Number(text)
  if (/^[0-9]+(?:\.[0-9]+)?$/.test(text) && value > 0 && value <= 100_000) return value
  throw new InvalidArgumentError('It must be a number above 0, at most 100000.')
}

function withServer(command: Command): Command {
  return command.option('--url <url>', 'the server (default: http://127.0.0.1:8080)')
}

function withFilter(command: Command): Command {
  return command
    .option('--code <codes>', 'with these codes only, separated by commas')
    .addOption(new Option('--kind <kind>', 'of this kind only').choices(KINDS))
    .addOption(new Option('--rollback <state>', 'with a rollback of this state only').choices(ROLLBACKS))
}

type End = (status: ExitStatus) => void
/** Makes a command under another one. */
type MakeUnder = (name: string, description: string) => Command

/** `legwork dead-letters …`, `legwork keys …`, `legwork entries …` and `legwork status`; `end` is told what each ends with. */
export function operatorCommands(make: MakeCommand, end: End): readonly Command[] {
  const status = withServer(make('status', 'how settlement is doing: queue, workers, failures, owed fees')).action(
    async options => end(await (await import('./commands/status.ts')).statusCommand(options)),
  )
  return [letterCommands(make, end), keyCommands(make, end), entryCommands(make, end), status]
}

function group(
  make: MakeCommand,
  name: string,
  description: string,
): { readonly all: Command; readonly under: MakeUnder } {
  // Without options of its own: it would take them from the commands under it.
  const all = new Command(name).description(description).copyInheritedSettings(make(name, ''))
  const under: MakeUnder = (own, what) =>
    withServer(make(own, what)).showHelpAfterError(`(legwork ${name} ${own} --help shows what can be given)`)
  return { all, under }
}

function letterCommands(make: MakeCommand, end: End): Command {
  const what = 'what stopped and needs a person: look at it, retry it, resolve it'
  const { all: letters, under } = group(make, 'dead-letters', what)
  letters.addCommand(
    withFilter(under('list', 'lists dead letters, newest first'))
      .option('--status <statuses>', 'open, retrying, resolved, separated by commas', 'open,retrying')
      .option('--limit <number>', 'at most so many, up to 1000', '50')
      .option('--cursor <cursor>', 'from where another list ended')
      .action(async options => end(await (await import('./commands/dead-letters.ts')).listCommand(options))),
  )
  letters.addCommand(
    under('show', 'shows the dead letter of a trade, with its legs')
      .argument('<trade-id>')
      .action(async (id, options) => end(await (await import('./commands/dead-letters.ts')).showCommand(id, options))),
  )
  letters.addCommand(
    withFilter(under('retry', 'retries one, or all that match, and waits for what comes of it'))
      .argument('[trade-id]', 'one alone')
      .option('--all', 'all that are open')
      .option('--dry-run', 'only say how many there are')
      .option('--rate <number>', 'settlements a second (default: all at once)', rate)
      .option('--reason <text>', 'why, for the audit log; needed for more than one')
      .action(async (id, options) => end(await (await import('./commands/retry.ts')).retryCommand(id, options))),
  )
  letters.addCommand(
    under('resolve', 'says what became of it: nothing more is done about it')
      .argument('<trade-id>')
      .addOption(
        new Option('--resolution <what>', 'what became of it')
          .choices(['settled_elsewhere', 'cancelled', 'written_off'])
          .makeOptionMandatory(),
      )
      .requiredOption('--note <text>', 'what was done, kept with the letter')
      .option('--reason <text>', 'why, for the audit log (default: the note)')
      .action(async (id, options) =>
        end(await (await import('./commands/dead-letters.ts')).resolveCommand(id, options)),
      ),
  )
  return letters
}

function keyCommands(make: MakeCommand, end: End): Command {
  const what = 'keys for whoever calls: make one for a role, see which there are, revoke one'
  const { all: keys, under } = group(make, 'keys', what)
  keys.addCommand(
    under('create', 'makes a key, and shows it this once')
      .addOption(
        new Option('--role <role>', 'viewer reads, trader reads what is its user’s, operator settles, admin does all')
          .choices(ROLES)
          .makeOptionMandatory(),
      )
      .option('--user-id <id>', 'the one user of a trader; no other role has one')
      .option('--reason <text>', 'why, for the audit log')
      .action(async options => end(await (await import('./commands/keys.ts')).createKeyCommand(options))),
  )
  keys.addCommand(
    under('list', 'lists the keys that were made, newest first; never a key itself')
      .option('--role <roles>', 'with these roles only, separated by commas')
      .option('--status <statuses>', 'active, revoked, separated by commas', 'active')
      .option('--limit <number>', 'at most so many, up to 1000', '50')
      .option('--cursor <cursor>', 'from where another list ended')
      .action(async options => end(await (await import('./commands/keys.ts')).listKeysCommand(options))),
  )
  keys.addCommand(
    under('revoke', 'refuses a key for ever, within five seconds on every server')
      .argument('<id>', 'of the key, as the list has it')
      .option('--reason <text>', 'why, for the audit log')
      .action(async (id, options) => end(await (await import('./commands/keys.ts')).revokeKeyCommand(id, options))),
  )
  return keys
}

function entryCommands(make: MakeCommand, end: End): Command {
  const { all: entries, under } = group(make, 'entries', 'what the built-in wallet or a wallet service has booked')
  entries.addCommand(
    under('export', 'writes entries to standard output: all, or those of an account or a trade')
      .addOption(new Option('--format <format>', 'csv, or with --json ndjson, if it is not given').choices(FORMATS))
      .option('--user-id <id>', 'with --currency: of this account only, oldest first')
      .option('--currency <code>', 'with --user-id')
      .option('--trade-id <id>', 'of this trade only')
      .option('--from <time>', 'of this time (RFC 3339) and later')
      .option('--until <time>', 'before this time')
      .action(async options => end(await (await import('./commands/entries.ts')).exportCommand(options))),
  )
  return entries
}
