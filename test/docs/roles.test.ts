import { beforeAll, expect, test } from 'vitest'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import { authenticate } from '../support/api.ts'
import { expectGenerated, remakeCommand } from '../support/generated.ts'
import { ASSETS, FEES } from '../support/trades.ts'

const TEST = 'test/docs/roles.test.ts'

interface Described {
  readonly summary: string
  readonly 'x-least-role'?: 'viewer' | 'operator' | 'admin'
  readonly 'x-traders'?: 'own' | 'all'
}

let routes: readonly (readonly [route: string, described: Described])[] = []

beforeAll(async () => {
  // Routes are only described, so what they need need not be there.
  const nothing = {} as never
  const app = createServer({
    authenticate,
    notReady: async () => [],
    log: createLogger('silent'),
    version: '0',
    keys: { store: nothing, holders: { authenticate, revoked: () => {} }, clock: systemClock() },
    trades: nothing,
    orders: nothing,
    admin: nothing,
    wallet: {
      wallet: createMemoryWallet({ assets: ASSETS, clock: systemClock(), feeUserId: FEES }),
      assets: ASSETS,
    },
    faults: nothing,
  })
  const { paths } = (await app.inject({ url: '/openapi.json' })).json() as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>
  }
  routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => [`${method.toUpperCase()} ${path}`, described] as const),
  )
  await app.close()
})

const RANKED = ['viewer', 'operator', 'admin'] as const

function rowOf([route, described]: (typeof routes)[number]): string {
  const least = described['x-least-role']
  const [viewer, operator, admin] = RANKED.map((_, rank) => {
    if (least === undefined) return 'no key'
    return rank >= RANKED.indexOf(least) ? 'yes' : ''
  })
  const traders = { own: 'its own', all: 'yes', none: '' }[described['x-traders'] ?? 'none']
  const trader = least === undefined ? 'no key' : traders
  const cells = [`\`${route}\``, described.summary, viewer, trader, operator, admin]
  return `|${cells.map(cell => (cell === '' ? ' ' : ` ${cell} `)).join('|')}|`
}

function document(): string {
  const rows = routes.toSorted(([one], [other]) => (sortable(one) < sortable(other) ? -1 : 1)).map(rowOf)
  return `# Keys and roles

<!-- Made by ${TEST} from what the routes themselves say. To make it anew:
     ${remakeCommand(TEST)} -->

Every call but \`/livez\`, \`/readyz\` and the description of the API brings a key: \`Authorization: Bearer KEY\`. A key has a role.
\`viewer\`, \`operator\` and \`admin\` may each do what the one before may, and more; a \`trader\` is bound to one user, and places and reads what
is that user's own. No key, or one that is not known: 401 \`UNAUTHORIZED\`. Too small a role: 403 \`FORBIDDEN\`, with the role that is
needed.

| route | what it does | viewer | trader | operator | admin |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

**Money that comes in or goes out takes an admin**: debits and credits with the reason \`DEPOSIT\` or \`WITHDRAWAL\`, and the reversal
of one. To an operator these are 403; in a batch the item alone is refused, with that as its problem, and nothing of it is
remembered. No settlement has such legs, whoever sends it. So a wallet that is settled on needs to give its engine no more than
an operator's key.

**A trader** gets its own orders, trades, balances and entries, and market data. Another user's order, trade or balance is 404, a
list that asks for others alone is empty, and entries are read by account: those of a trade are also the other side's. An order that
is placed for another user is 403, in a batch that order alone.

## The admin key, and further ones

Each server has a first admin key: that of \`LEGWORK_ADMIN_TOKEN\`, or the one its first start makes and keeps in the data folder. It
can't be revoked; it is changed by giving another and starting again. All others are made and revoked while the server runs, by an
admin, over \`/v1/admin/keys\` or from the command line:

\`\`\`sh
legwork keys create --role operator --reason "for the night shift"
legwork keys create --role trader --user-id 00000000-0000-4000-8000-00000000000b
legwork keys list
legwork keys revoke ID --reason "the shift is over"
\`\`\`

The command line uses the key of \`LEGWORK_ADMIN_TOKEN\`, or of the data folder: an operator puts the own key there.

A key is shown once, by the answer that makes it. An \`Idempotency-Key\` on that call makes one key however often it is sent; the
repeat names the id and can't show the key. Lists tell keys apart by their last four characters. Who made and revoked which
key, when and why stands in the audit log (\`GET /v1/admin/audit-log\`); what was changed with a key is noted under its role and id.

All servers on one database have the same keys. \`legwork wallet\`, on a database of its own, has keys of its own: \`--url\` says at which
server one is made. \`legwork worker\` does not listen, and so takes no key. \`legwork wallet --memory\` takes the admin key alone: it
has no database to keep others in.

**A revoked key is refused at once by the server that revoked it, and within five seconds by all others on that database**: so long a key
is remembered. A key in use is looked up again in the background before that time is over, so no call waits for it. Unknown keys
are remembered as well, and looked up in one statement at a time; where too many come at once, 429 asks to come again.

Of a key only its SHA-256 is kept. A slow hash protects what people think up, which can be guessed; a key is 256 random bits, of
which no guess comes near, so a slow one would only slow down each call.
`
}

/** By path, then by method. */
function sortable(route: string): string {
  const [method = '', path = ''] = route.split(' ')
  return `${path.startsWith('/v1/') ? '1' : '2'} ${path} ${method}`
}

test('docs/roles.md is what the routes say', async () => {
  expect(routes.length).toBeGreaterThan(30)
  await expectGenerated('docs/roles.md', document(), TEST)
})
