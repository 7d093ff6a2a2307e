import { parseUuid } from '../../../core/ids.ts'
import type { Entry, EntryPosition } from '../../../wallet/wallet.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { limitOf, pageOf, partsOf } from '../../page.ts'
import { refuse } from '../../problem.ts'
import { EntriesPage, EntriesQuery } from '../contract.ts'
import { mayRead, whoseEntries } from '../entry-access.ts'
import { viewEntry } from '../entry-view.ts'
import type { WalletServices } from '../plugin.ts'

/** `GET /v1/entries`: of a trade or of an account, oldest first. */
export function entriesListRoute(app: App, { wallet, assets }: WalletServices): void {
  const schema = {
    tags: ['wallet'],
    summary: 'Entries of a trade or of an account, oldest first',
    querystring: EntriesQuery,
    response: { 200: EntriesPage, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'own' } as const
  app.get('/v1/entries', { schema, config }, async ({ query, principal }, reply) => {
    const of = whoseEntries(query)
    if (of === null) return refuse(reply, invalid('', 'either trade_id is given, or user_id and currency'))
    const may = mayRead(principal, of)
    if (may === 'none') return { entries: [], next_cursor: null }
    if (may !== 'all') return refuse(reply, may)
    const after = query.cursor === undefined ? null : positionOf(query.cursor)
    if (after === undefined) return refuse(reply, invalid('/cursor', 'must be a cursor that an answer gave'))
    const limit = limitOf(query.limit)
    const { items, next_cursor } = pageOf(await wallet.entries({ of, after, limit: limit + 1 }), limit, partsOfEntry)
    return { entries: items.map(entry => viewEntry(entry, assets)), next_cursor }
  })
}

function partsOfEntry({ atMs, leg, userId, seq, currency }: Entry): readonly (string | number | bigint)[] {
  return [atMs, leg ?? '-', userId, seq, currency]
}

/** Undefined: no cursor of ours. */
function positionOf(cursor: string): EntryPosition | undefined {
  const [at = '', leg = '', user = '', seq = '', currency = '', ...rest] = partsOf(cursor)
  const userId = parseUuid(user)
  const isOurs = /^[0-9]{1,15}$/.test(at) && /^(?:-|[0-9]{1,4})$/.test(leg) && /^[0-9]{1,18}$/.test(seq)
  if (!isOurs || userId === null || !/^[A-Z0-9]{1,20}$/.test(currency) || rest.length > 0) return undefined
  return { atMs: Number(at), leg: leg === '-' ? null : Number(leg), userId, seq: BigInt(seq), currency }
}
