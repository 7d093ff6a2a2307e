import { setTimeout as delay } from 'node:timers/promises'
import type { LetterView, StatusView } from '../../api/admin/contract.ts'
import { type AdminClient, openAdminClient, type ServerOptions } from '../admin-client.ts'
import { CommandError, EXIT, type ExitStatus } from '../exit-status.ts'
import { createProgressBar } from '../progress.ts'
import { interruption } from '../signals.ts'
import { tableOf } from '../table.ts'
import { type FilterOptions, filterOf, LETTERS } from './dead-letters.ts'

export interface RetryCommandOptions extends ServerOptions, FilterOptions {
  readonly all?: true
  readonly dryRun?: true
  readonly rate?: number
  readonly reason?: string
}

interface Bulk {
  readonly id: string | null
  readonly count: number
  readonly retrying: number
  readonly settled: number
  readonly collected: number
  readonly failed: number
}

interface Item {
  readonly trade_id: string
  readonly result: 'retrying' | 'settled' | 'collected' | 'failed'
  readonly code: string | null
  readonly last_error: string | null
}

const LOOK_MS = 200
const PAGE = 1000
const STATUS = 'legwork status shows how settlement is doing'

/** `legwork dead-letters retry [ID]`: waits until everything that was put back to work has come to its end. */
export async function retryCommand(id: string | undefined, options: RetryCommandOptions): Promise<ExitStatus> {
  const signal = interruption()
  checkUsage(id, options)
  const client = await openAdminClient(options, signal)
  try {
    return id === undefined ? await retryAll(client, options, signal) : await retryOne(client, id, options, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    const hint = 'legwork dead-letters list --status retrying shows it'
    throw new CommandError(EXIT.interrupted, `interrupted; what was put back to work goes on at the server: ${hint}`)
  }
}

function checkUsage(id: string | undefined, options: RetryCommandOptions): void {
  const isFiltered = options.all === true || Object.keys(filterOf(options)).length > 0
  if ((id !== undefined) === isFiltered) {
    throw new CommandError(EXIT.usage, 'name a trade, or say which: --code, --kind, --rollback, or --all')
  }
  if (id !== undefined && (options.dryRun === true || options.rate !== undefined)) {
    throw new CommandError(
      EXIT.usage,
      '--dry-run and --rate are for more than one: --code, --kind, --rollback, or --all',
    )
  }
  if (isFiltered && options.dryRun !== true && options.reason === undefined) {
    throw new CommandError(EXIT.usage, 'say why, for the audit log: --reason "the wallet is funded again"')
  }
}

async function retryOne(
  client: AdminClient,
  id: string,
  options: RetryCommandOptions,
  signal: AbortSignal,
): Promise<ExitStatus> {
  const path = `${LETTERS}/${encodeURIComponent(id)}`
  const hint = `legwork dead-letters show ${id} shows how it stands`
  const body = options.reason === undefined ? {} : { reason: options.reason }
  const { dead_letter: before } = await client.post<{ readonly dead_letter: LetterView }>(`${path}/retry`, body, hint)
  for (;;) {
    const { dead_letter: letter } = await client.get<{ readonly dead_letter: LetterView }>(path, hint)
    if (letter.status !== 'retrying' || (await isPaused(client))) {
      const item = itemOf(before, letter)
      print([item], options)
      if (item.result === 'retrying') say(PAUSED)
      return item.result === 'retrying' ? EXIT.inPart : item.result === 'failed' ? EXIT.failed : EXIT.done
    }
    await delay(LOOK_MS, undefined, { signal })
  }
}

function itemOf(before: LetterView, letter: LetterView): Item {
  const { trade_id, kind, status, code, last_error } = letter
  // A letter of the fee in the place of the settlement's: the trade is settled.
  if (kind !== before.kind) return { trade_id, result: 'settled', code: null, last_error: null }
  if (status === 'open') return { trade_id, result: 'failed', code, last_error }
  const result = status === 'retrying' ? 'retrying' : kind === 'fee' ? 'collected' : 'settled'
  return { trade_id, result, code: null, last_error: null }
}

async function retryAll(client: AdminClient, options: RetryCommandOptions, signal: AbortSignal): Promise<ExitStatus> {
  const { reason, rate, dryRun } = options
  const asked = { ...filterOf(options), ...(dryRun === true ? { dry_run: true } : {}), reason, rate }
  const { bulk_retry: begun } = await client.post<{ readonly bulk_retry: Bulk }>(`${LETTERS}/retry`, asked, STATUS)
  if (begun.id === null || begun.count === 0) {
    const found = `${counted(begun.count)} ${dryRun === true ? 'would be' : ''} retried`.replace('  ', ' ')
    process.stdout.write(
      options.json === true ? `${JSON.stringify(summaryOf(begun, dryRun === true))}\n` : `${found}\n`,
    )
    return EXIT.done
  }
  const path = `/v1/admin/bulk-retries/${begun.id}`
  const done = await watch(client, path, signal)
  print(await itemsOf(client, path), options)
  process.stdout.write(options.json === true ? `${JSON.stringify(summaryOf(done, false))}\n` : `\n${wordsOf(done)}\n`)
  if (done.retrying > 0) say(PAUSED)
  const well = done.settled + done.collected
  return well === done.count ? EXIT.done : well === 0 && done.retrying === 0 ? EXIT.failed : EXIT.inPart
}

/** Until all have come to their end, or settlement is paused. */
async function watch(client: AdminClient, path: string, signal: AbortSignal): Promise<Bulk> {
  const bar = createProgressBar('retrying')
  let last = 'no longer watched'
  try {
    for (;;) {
      const { bulk_retry: now } = await client.get<{ readonly bulk_retry: Bulk }>(path, STATUS)
      last = wordsOf(now)
      bar.show(now.count - now.retrying, now.count)
      if (now.retrying === 0 || (await isPaused(client))) return now
      await delay(LOOK_MS, undefined, { signal })
    }
  } finally {
    bar.stop(last)
  }
}

async function isPaused(client: AdminClient): Promise<boolean> {
  return (await client.get<StatusView>('/v1/admin/status', STATUS)).paused
}

async function itemsOf(client: AdminClient, path: string): Promise<readonly Item[]> {
  const items: Item[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: { readonly items: readonly Item[]; readonly next_cursor: string | null } = await client.get(
      `${path}/items?limit=${PAGE}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      STATUS,
    )
    items.push(...page.items)
    cursor = page.next_cursor
  }
  return items
}

const PAUSED = 'settlement is paused: what is retried waits until it is resumed (POST /v1/admin/settlement/resume)'

function say(message: string): void {
  process.stderr.write(`legwork: ${message}\n`)
}

function print(items: readonly Item[], { json }: RetryCommandOptions): void {
  const text =
    json === true
      ? items.map(item => `${JSON.stringify(item)}\n`).join('')
      : tableOf(items.map(({ trade_id, result, last_error }) => [trade_id, result, last_error ?? '']))
  process.stdout.write(text)
}

function summaryOf({ count, settled, collected, failed, retrying }: Bulk, isDryRun: boolean) {
  return { dry_run: isDryRun, count, settled, collected, failed, retrying }
}

function wordsOf({ count, settled, collected, failed, retrying }: Bulk): string {
  const parts = Object.entries({ settled, collected, 'failed again': failed, 'still under way': retrying })
  const said = parts.flatMap(([name, number]) => (number === 0 ? [] : [`${number.toLocaleString('en')} ${name}`]))
  return `${counted(count)} retried: ${said.join(', ')}`
}

function counted(count: number): string {
  return `${count.toLocaleString('en')} dead letter${count === 1 ? '' : 's'}`
}
