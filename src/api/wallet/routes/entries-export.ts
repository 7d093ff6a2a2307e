import { type TSchema, Type } from 'typebox'
import type { Entry } from '../../../wallet/wallet.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { parseInstant } from '../../instant.ts'
import { refuse } from '../../problem.ts'
import { EntriesExportQuery, EntryView } from '../contract.ts'
import { mayRead, whoseEntries } from '../entry-access.ts'
import { LINES, type LineFormat } from '../entry-lines.ts'
import { viewEntry } from '../entry-view.ts'
import { createExports } from '../exports.ts'
import type { WalletServices } from '../plugin.ts'

/** Each costs a connection, a page of entries, and what of a core the reading takes. */
const LIMITS = { most: 8, stalledMs: 5 * 60_000 }

const PATH = '/v1/entries/export'

/** Whether a request's target is that of an export. */
export function isExport(target: string): boolean {
  return target === PATH || target.startsWith(`${PATH}?`)
}

/** `GET /v1/entries/export`: entries to their end, as CSV or NDJSON. */
export function entriesExportRoute(app: App, services: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'All entries, or those of a trade or an account, as one file',
    description: DESCRIPTION,
    querystring: EntriesExportQuery,
    response: { 200: ANSWER, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'own' } as const
  const exports = createExports(LIMITS)
  app.addHook('preClose', async () => exports.close())
  app.get(PATH, { schema, config, exposeHeadRoute: false }, async (request, reply) => {
    const { query, principal } = request
    const { format = 'csv', trade_id, user_id, currency } = query
    const of = whoseEntries(query)
    if (of === null && (trade_id ?? user_id ?? currency) !== undefined) {
      return refuse(reply, invalid('', 'either trade_id is given, or user_id and currency, or none of them'))
    }
    const may = mayRead(principal, of)
    if (typeof may === 'object') return refuse(reply, may)
    const range = { of, fromMs: instantOf(query.from), untilMs: instantOf(query.until) }
    const entries = may === 'all' ? services.wallet.readEntries(range) : NONE
    const { contentType } = LINES[format]
    const parts = linesOf(entries, LINES[format], services)
    return await exports.answer(request, reply, { contentType, fileName: `entries.${format}`, parts })
  })
}

const DESCRIPTION =
  'Oldest first; without a trade or an account, account by account. The body ends as it should only if it is whole: one that ' +
  'fails on the way ends with its connection.'

/** Written as it is: the schema stands in the description alone. */
const ANSWER: TSchema = {
  description: 'With the fields of `/v1/entries`; in CSV (RFC 4180) an empty field is null.',
  content: { 'text/csv': { schema: Type.String() }, 'application/x-ndjson': { schema: EntryView } },
} as unknown as TSchema

const NONE: AsyncIterable<readonly Entry[]> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
}

/** The validator has let through what can be read alone. */
function instantOf(text: string | undefined): number | null {
  return text === undefined ? null : parseInstant(text)
}

async function* linesOf(
  entries: AsyncIterable<readonly Entry[]>,
  { head, line }: LineFormat,
  { assets }: WalletServices,
): AsyncGenerator<string, void> {
  let text = head
  for await (const part of entries) {
    for (const entry of part) text += line(viewEntry(entry, assets))
    yield text
    text = ''
  }
  if (text !== '') yield text
}
