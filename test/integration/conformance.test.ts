/** The conformance kit passes for our wallets over real HTTP at every level, and names what a broken one breaks. */
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { type KitOptions, type Report, runConformance } from '../../src/conformance/kit.ts'
import { createRenderer, isKept, jsonOf } from '../../src/conformance/render.ts'
import { createLogger } from '../../src/log.ts'
import type { WalletLevel } from '../../src/wallet/wallet.ts'
import { createLedgerWalletService } from '../../src/wallet-service/service.ts'
import { authenticate } from '../support/api.ts'
import {
  checksLegByLeg,
  forgetsKeys,
  forgetsRefusals,
  looksThenDoes,
  mixesUpOrder,
  openWallet,
  overdraws,
  remembersRefusedReversals,
  replaysOtherContent,
  settlesInHalf,
  TOKEN,
  takesLateOriginals,
  tellsTotalBefore,
  undoesOneLeg,
  type Wrong,
} from '../support/broken-wallets.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { ASSETS } from '../support/trades.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

let runs = 0

async function run(url: string, options: Partial<KitOptions> = {}): Promise<Report> {
  const signal = new AbortController().signal
  return await runConformance({
    ...{ url, token: TOKEN, run: `test-${++runs}`, assumed: [...ASSETS.values()], signal },
    ...options,
  })
}

async function runOn(level: WalletLevel, wrong: Wrong = {}): Promise<Report> {
  const wallet = await openWallet(level, wrong)
  closing.push(() => wallet.close())
  return await run(wallet.url)
}

function notKept({ findings }: Report): readonly string[] {
  return findings.filter(({ result }) => result !== 'kept').map(({ promise }) => promise.name)
}

const LEVELS = ['basic', 'reversals', 'batch', 'settlements'] as const

/** All promises are kept, and what is left are empty accounts. */
function expectAllKept(report: Report, level: WalletLevel): void {
  expect(notKept(report)).toEqual([])
  expect(report.keeps).toBe(LEVELS.indexOf(level))
  expect(report.left.notEmpty).toEqual([])
  expect(isKept(report)).toBe(true)
}

describe('our wallets keep every promise of the level they offer', () => {
  let db: TestDatabase
  beforeAll(async () => {
    db = await createTestDatabase()
  })
  afterAll(() => db.drop())

  test.each(LEVELS)('in memory, level %s', async level => {
    expectAllKept(await runOn(level), level)
  })

  test.each(LEVELS)('on PostgreSQL, level %s', async level => {
    const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
    const log = createLogger('silent')
    const wallet = await createLedgerWalletService({
      ...{ config, level, authenticate, log, version: '0', database: db.database },
    })
    closing.push(() => wallet.close())
    const url = await wallet.listen({ host: '127.0.0.1', port: 0 })
    expectAllKept(await run(url), level)
    if (level === 'basic') return
    const answer = await fetch(`${url}/v1/totals`, { headers: { authorization: `Bearer ${TOKEN}` } })
    const { totals } = (await answer.json()) as { readonly totals: readonly unknown[] }
    // Whatever the kit has moved, in the clearing account nothing of it is left.
    for (const total of totals) expect(total).toMatchObject({ balances: '0', clearing: '0' })
  })
})

interface Broken {
  readonly what: string
  readonly level: WalletLevel
  readonly wrong: Wrong
  /** The index of the level that it keeps nonetheless. */
  readonly keeps: number | null
  /** Promises that must be among those named. */
  readonly names: readonly string[]
}

const ONCE = 'a call repeated under its key moves nothing, and is answered 200 as the first time, replayed'
const ONE_OF_MANY = 'of many calls at once under one key, one has effect'
const REUSED = 'a key used again with other content is refused, and moves nothing: IDEMPOTENCY_KEY_REUSED'
const LATE = 'an original that arrives after its reversal is refused, and moves nothing: REVERSED'
const LATE_SETTLEMENT = 'a settlement that arrives after its reversal is refused, and moves nothing: REVERSED'
const FIRST_ENTRIES = 'the entries of an account are all that moved it, oldest first, each with the total after it'
const SETTLED_ONCE = 'a settlement repeated under its key moves nothing: replayed'
const SETTLEMENT_REUSED = 'the key of a settlement used again with other content is refused: IDEMPOTENCY_KEY_REUSED'

const BROKEN: readonly Broken[] = [
  {
    what: 'forgets keys',
    ...{ level: 'settlements', wrong: { wallet: forgetsKeys }, keeps: null },
    names: [ONCE, ONE_OF_MANY, REUSED, SETTLED_ONCE],
  },
  {
    what: 'takes an original after its reversal',
    ...{ level: 'settlements', wrong: { wallet: takesLateOriginals }, keeps: 0 },
    names: [LATE, LATE_SETTLEMENT],
  },
  {
    what: 'replays a reused key with other content',
    ...{ level: 'settlements', wrong: { wallet: replaysOtherContent }, keeps: null },
    names: [REUSED, SETTLEMENT_REUSED],
  },
  {
    what: 'applies half a settlement',
    ...{ level: 'settlements', wrong: { wallet: settlesInHalf }, keeps: 2 },
    names: ['a settlement that one account can not pay moves nothing at all: INSUFFICIENT_BALANCE'],
  },
  {
    what: 'undoes one leg of a settlement',
    ...{ level: 'settlements', wrong: { wallet: undoesOneLeg }, keeps: 2 },
    names: ['a reversal of a settlement undoes all of its legs, and the settlement is REVERSED from then on'],
  },
  {
    what: 'checks funds leg by leg',
    ...{ level: 'settlements', wrong: { wallet: checksLegByLeg }, keeps: 2 },
    names: ['funds are checked on the sum per account: what one leg brings another may take, in any order'],
  },
  {
    what: 'says that it takes settlements and does not',
    level: 'settlements',
    wrong: { says: ({ path }) => (path === '/v1/settlements' ? { status: 404, body: '{}' } : {}) },
    keeps: 2,
    names: ['a settlement moves all of its legs', SETTLED_ONCE],
  },
  {
    what: 'mixes up the order in a batch',
    ...{ level: 'batch', wrong: { wallet: mixesUpOrder }, keeps: 1 },
    names: ['the order in a batch is kept: what a credit brings can be taken by the debit after it, not before it'],
  },
  {
    what: 'mixes up the results of a batch',
    level: 'batch',
    wrong: {
      says: ({ body }) => {
        if (!body.startsWith('{"results"')) return {}
        const { results } = JSON.parse(body) as { readonly results: readonly unknown[] }
        return { body: JSON.stringify({ results: results.toReversed() }) }
      },
    },
    keeps: 1,
    names: ['a batch is answered one for one and in order, each as it would be alone'],
  },
  {
    what: 'refuses a batch for one malformed operation',
    level: 'batch',
    wrong: {
      says: ({ path, body }) =>
        path === '/v1/batch' && body.includes('"status":400') ? { status: 400, body: '{}' } : {},
    },
    keeps: 1,
    names: ['a malformed operation refuses only itself'],
  },
  {
    what: 'takes a larger batch than it says',
    level: 'batch',
    wrong: { says: ({ body }) => ({ body: body.replace('"batch":{"max":1000}', '"batch":{"max":5}') }) },
    keeps: 1,
    names: ['a batch of more than the capabilities say is refused whole: 413'],
  },
  {
    what: 'forgets its refusals',
    ...{ level: 'reversals', wrong: { wallet: forgetsRefusals }, keeps: 0 },
    names: ['a refusal for want of funds is remembered: the key is spent, also once there are funds'],
  },
  {
    what: 'remembers the refusal of a reversal',
    ...{ level: 'reversals', wrong: { wallet: remembersRefusedReversals }, keeps: 0 },
    names: ['the refusal of a reversal is not remembered: it succeeds once the money is there again'],
  },
  {
    what: 'tells its entries newest first',
    level: 'reversals',
    wrong: { wallet: right => ({ entries: async query => (await right.entries(query)).toReversed() }) },
    keeps: 0,
    names: [FIRST_ENTRIES],
  },
  {
    what: 'begins anew on every page',
    level: 'reversals',
    wrong: { wallet: right => ({ entries: query => right.entries({ ...query, after: null }) }) },
    keeps: 0,
    names: ['entries come in pages: no more than the limit on each, none twice, none left out, then no cursor'],
  },
  {
    what: 'has made a unit out of nothing',
    level: 'reversals',
    wrong: {
      wallet: right => ({
        totals: async () => (await right.totals()).map(total => ({ ...total, balances: total.balances + 1n })),
      }),
    },
    keeps: 0,
    names: ['balances + clearing = deposits − withdrawals, in every currency, also in the midst of calls'],
  },
  {
    what: 'does not look at the hold that a debit names',
    level: 'reversals',
    wrong: { takes: body => body.replace(/,"hold":"[^"]*"/g, '') },
    keeps: 1,
    names: ['a debit that names a hold draws on it first, and takes the rest from what is available'],
  },
  {
    what: 'gives back what is held whenever it is asked',
    level: 'reversals',
    wrong: {
      wallet: right => {
        let made = 0
        return { release: release => right.release({ ...release, key: `release ${++made}` }) }
      },
    },
    keeps: 1,
    names: ['a release repeated under its key gives back once'],
  },
  {
    what: 'holds what is not available',
    level: 'reversals',
    wrong: {
      wallet: right => ({
        hold: async hold => {
          const outcome = await right.hold(hold)
          const done = { ...hold, remaining: hold.amount }
          return outcome.outcome === 'refused' ? { outcome: 'applied', replayed: false, done } : outcome
        },
      }),
    },
    keeps: 1,
    names: [
      'no more can be held than is available: INSUFFICIENT_BALANCE',
      'of holds at once no more are opened than the balance covers',
    ],
  },
  {
    what: 'goes below zero under concurrency',
    ...{ level: 'basic', wrong: { wallet: overdraws }, keeps: null },
    names: ['debits at once never take more than there is, nor refuse what is there'],
  },
  {
    what: 'looks for a key before it takes it',
    ...{ level: 'basic', wrong: { wallet: looksThenDoes }, keeps: null },
    names: [ONE_OF_MANY],
  },
  {
    what: 'tells the total before the call',
    ...{ level: 'basic', wrong: { wallet: tellsTotalBefore }, keeps: null },
    names: ['credits add, debits take, and each tells the total after it'],
  },
  {
    what: 'counts in floating point',
    level: 'basic',
    wrong: {
      wallet: right => ({
        balance: async (userId, currency) => {
          const balance = await right.balance(userId, currency)
          return balance === null ? null : { ...balance, total: BigInt(Number(balance.total)) }
        },
      }),
    },
    keeps: null,
    names: ['large amounts are exact to the smallest unit'],
  },
  {
    what: 'takes exponents',
    ...{ level: 'basic', wrong: { takes: body => body.replaceAll('"1e3"', '"1000"') }, keeps: null },
    names: ['what is not a decimal text above zero is no amount: INVALID_AMOUNT'],
  },
  {
    what: 'lets anyone in',
    level: 'basic',
    wrong: { authenticate: async () => ({ role: 'admin', userId: null, name: 'anyone' }) },
    keeps: null,
    names: ['with a wrong token nobody gets in (401), and nothing moves'],
  },
  {
    what: 'tells errors as plain JSON',
    level: 'basic',
    wrong: { says: ({ status }) => (status >= 400 ? { type: 'application/json' } : {}) },
    keeps: null,
    names: ['an error is application/problem+json with type, title, status, detail and code'],
  },
  {
    what: 'answers 200 to what it has just done',
    ...{ level: 'basic', wrong: { says: ({ status }) => (status === 201 ? { status: 200 } : {}) }, keeps: null },
    names: ['what was done is answered 201 with all that was asked, the status and the time'],
  },
]

describe('a broken wallet fails, and the promise is named', () => {
  test.each(BROKEN)('that $what', async ({ level, wrong, keeps, names }) => {
    const report = await runOn(level, wrong)
    expect(notKept(report)).toEqual(expect.arrayContaining([...names]))
    expect(report.keeps).toBe(keeps)
    expect(isKept(report)).toBe(false)
  })

  test('that says it has holds and has none: its level is kept, its holds are not', async () => {
    const report = await runOn('basic', {
      says: ({ path }) => {
        if (path.startsWith('/v1/holds')) return { status: 404, body: '{}' }
        const holding = { protocol: 1, levels: ['basic'], holds: true, currencies: [...ASSETS.values()] }
        return path === '/v1/capabilities' ? { status: 200, body: JSON.stringify(holding) } : {}
      },
    })
    expect(report.keeps).toBe(0)
    expect(notKept(report)).toContain('a hold takes funds out of available into held; the total stays')
    const text = createRenderer({ url: '', run: '' }, (_, word) => word).end(report)
    expect(text.endsWith('\nkeeps level 0 (basic), does not keep its holds\n')).toBe(true)
  })

  test('with the call after which it was seen', async () => {
    const { findings } = await runOn('settlements', { wallet: settlesInHalf })
    const finding = findings.find(({ result }) => result === 'broken')
    expect(finding).toMatchObject({
      sent: expect.stringMatching(/^GET \/v1\/balances\//),
      after: expect.stringMatching(/^POST \/v1\/settlements \{/),
    })
  })

  test('with what was expected, what came, and where the protocol says so', async () => {
    const report = await runOn('reversals', { wallet: takesLateOriginals })
    const about = { url: 'http://wallet', run: 'a-run' }
    const renderer = createRenderer(about, (_, text) => text)
    const text = report.findings.map(renderer.finding).join('') + renderer.end(report)
    expect(text).toMatch(
      new RegExp(`  ✗ ${LATE}
      expected  409 REVERSED
      came      201 \\{"key":"conformance:test-[^\n]*
      sent      POST /v1/credits Idempotency-Key: conformance:test-[^\n]*
      protocol  Level 1\n`),
    )
    expect(text.endsWith('\nkeeps level 0 (basic), says it keeps level 1 (reversals)\n')).toBe(true)
    const json = JSON.parse(jsonOf(report, about))
    expect(json).toMatchObject({
      wallet_url: 'http://wallet',
      run: 'a-run',
      claims: { level: 1, name: 'reversals' },
      keeps: { level: 0, name: 'basic' },
      kept: false,
    })
    expect(json.promises).toContainEqual(
      expect.objectContaining({
        ...{ name: LATE, part: 'reversals', level: 1, section: 'Level 1', result: 'broken' },
        ...{ expected: '409 REVERSED', came: expect.objectContaining({ status: 201, code: null }) },
      }),
    )
  })
})

describe('every run ends', () => {
  /** Answers its capabilities and the first credit, and nothing after that. */
  async function openSilent(): Promise<string> {
    let isSilent = false
    const server = createServer((request, response) => {
      if (request.url === '/v1/capabilities') {
        response.end('{"protocol":1,"levels":["basic"],"holds":false,"currencies":[{"code":"BTC","scale":8}]}')
      } else if (request.url === '/v1/credits' && !isSilent) {
        isSilent = true
        response.writeHead(201).end('{}')
      }
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => {
      server.closeAllConnections()
      server.close()
    })
    const address = server.address()
    if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
    return `http://127.0.0.1:${address.port}`
  }

  test('on a wallet that falls silent: after three promises the rest is not tried', async () => {
    const { findings, keeps, left } = await run(await openSilent(), { callMs: 50 })
    const [capabilities, ...others] = findings.map(finding => finding.result)
    expect(capabilities).toBe('kept')
    expect(others.slice(0, 3)).toEqual(['broken', 'broken', 'broken'])
    expect(new Set(others.slice(3))).toEqual(new Set(['untried']))
    expect(findings[1]).toMatchObject({ expected: 'an answer', came: null, why: 'no answer within 0.05 s' })
    expect(keeps).toBeNull()
    expect(left.notEmpty.every(({ total }) => total === null)).toBe(true)
  })

  test('when its time is up', async () => {
    const { findings, keeps } = await run(await openSilent(), { callMs: 400, runMs: 200 })
    expect(findings.slice(1).every(({ result }) => result === 'untried')).toBe(true)
    expect(keeps).toBeNull()
  })

  test('before it begins where the wallet can not be reached, does not let us in, or is none', async () => {
    const wallet = await openWallet('settlements')
    await expect(run(wallet.url, { token: 'another' })).rejects.toMatchObject({ kind: 'locked_out' })
    await expect(run(`${wallet.url}/elsewhere`)).rejects.toMatchObject({ kind: 'unusable' })
    await wallet.close()
    await expect(run(wallet.url)).rejects.toMatchObject({ kind: 'unreachable' })
  })
})
