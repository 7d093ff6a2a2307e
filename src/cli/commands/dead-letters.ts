import type { LetterView } from '../../api/admin/contract.ts'
import { openAdminClient, type ServerOptions } from '../admin-client.ts'
import { EXIT, type ExitStatus } from '../exit-status.ts'
import { interruption } from '../signals.ts'
import { tableOf } from '../table.ts'

export interface FilterOptions {
  readonly code?: string
  readonly kind?: string
  readonly rollback?: string
}

export interface ListCommandOptions extends ServerOptions, FilterOptions {
  readonly status: string
  readonly limit: string
  readonly cursor?: string
}

export interface ResolveCommandOptions extends ServerOptions {
  readonly resolution: string
  readonly note: string
  readonly reason?: string
}

interface Page {
  readonly dead_letters: readonly LetterView[]
  readonly next_cursor: string | null
}

/** Where the letters of the API are. */
export const LETTERS = '/v1/admin/dead-letters'
const LIST = 'legwork dead-letters list shows what there is'

/** The part of the options that says which letters. */
export function filterOf({ code, kind, rollback }: FilterOptions): Readonly<Record<string, string>> {
  const all = Object.entries({ code, kind, rollback })
  return Object.fromEntries(all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

/** `legwork dead-letters list`. */
export async function listCommand(options: ListCommandOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const { status, limit, cursor } = options
  const query = new URLSearchParams({
    ...filterOf(options),
    status,
    limit,
    ...(cursor === undefined ? {} : { cursor }),
  })
  const page = await client.get<Page>(`${LETTERS}?${query.toString()}`, LIST)
  process.stdout.write(options.json === true ? `${JSON.stringify(page)}\n` : textOfPage(page))
  return EXIT.done
}

/** `legwork dead-letters show ID`. */
export async function showCommand(id: string, options: ServerOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const answer = await client.get<{ readonly dead_letter: LetterView }>(`${LETTERS}/${encodeURIComponent(id)}`, LIST)
  print(answer, options)
  return EXIT.done
}

/** `legwork dead-letters resolve ID`. */
export async function resolveCommand(id: string, options: ResolveCommandOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const { resolution, note, reason = note } = options
  const hint = `legwork dead-letters show ${id} shows how it stands`
  const path = `${LETTERS}/${encodeURIComponent(id)}/resolve`
  const answer = await client.post<{ readonly dead_letter: LetterView }>(path, { resolution, note, reason }, hint)
  print(answer, options)
  return EXIT.done
}

function print(answer: { readonly dead_letter: LetterView }, { json }: ServerOptions): void {
  process.stdout.write(json === true ? `${JSON.stringify(answer)}\n` : textOfLetter(answer.dead_letter))
}

function textOfPage({ dead_letters, next_cursor }: Page): string {
  if (dead_letters.length === 0) return 'no dead letters\n'
  const rows = dead_letters.map(letter => [
    letter.trade_id,
    letter.kind,
    letter.code,
    letter.rollback,
    letter.status,
    String(letter.attempts),
    letter.last_failed_at,
    letter.owed.map(({ amount, currency }) => `${amount} ${currency}`).join(', '),
  ])
  const head = ['trade', 'kind', 'code', 'rollback', 'status', 'attempts', 'last failed', 'owed']
  const more = next_cursor === null ? '' : `\nthere are more: legwork dead-letters list --cursor ${next_cursor}\n`
  return tableOf([head, ...rows]) + more
}

function textOfLetter(letter: LetterView): string {
  const facts = [
    ['trade', `${letter.trade_id} (${letter.symbol})`],
    ['kind', letter.kind],
    ['status', letter.status],
    ['last error', letter.last_error],
    ['attempts', String(letter.attempts)],
    ['rollback', letter.rollback],
    ['failed', `first ${letter.first_failed_at}, last ${letter.last_failed_at}`],
    ...letter.owed.map(({ amount, currency, user_id }) => ['owed', `${amount} ${currency} to ${user_id}`]),
    ...(letter.resolution === null
      ? []
      : [['resolved', `${letter.resolution} by ${letter.resolved_by}, ${letter.resolved_at}`]]),
    ...(letter.note === null ? [] : [['note', letter.note]]),
  ]
  const legs = letter.legs.map(leg => [
    leg.leg,
    leg.state,
    leg.type,
    `${leg.amount} ${leg.currency}`,
    leg.user_id,
    leg.last_error ?? '',
  ])
  const head = ['leg', 'state', 'type', 'amount', 'user', 'last error']
  const next = letter.status === 'open' ? `\nput it back to work: legwork dead-letters retry ${letter.trade_id}\n` : ''
  return `${tableOf(facts)}\n${tableOf([head, ...legs])}${next}`
}
