/** `legwork conformance` as its users have it, on wallets that are processes of their own. */
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWallet, settlesInHalf, TOKEN } from '../support/broken-wallets.ts'
import { ADMIN_KEY, openWorkshop, type UpServer, until, type Workshop } from '../support/process.ts'

let shop: Workshop

beforeAll(async () => {
  shop = await openWorkshop()
})
afterAll(() => shop.close())

const ENV = { env: { LEGWORK_WALLET_TOKEN: ADMIN_KEY } }

const conformance = (url: string, ...more: string[]) => shop.run(['conformance', '--wallet-url', url, ...more], ENV)

async function expectNothingLeft(server: UpServer): Promise<void> {
  const { body } = await server.get('/v1/totals')
  const { totals } = body as { readonly totals: readonly unknown[] }
  for (const total of totals) expect(total).toMatchObject({ balances: '0', clearing: '0' })
}

test('the wallet on PostgreSQL keeps everything, and nothing is left on it', async () => {
  const wallet = await shop.wallet(['--data-dir', shop.path('ledger')])
  const { status, stdout, stderr } = await conformance(`${wallet.url}/`)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout).toMatch(new RegExp(`^${wallet.url} says it keeps level 3 \\(settlements\\)[^\n]*\nrun [0-9a-f]{12}\n`))
  const headings = [...stdout.matchAll(/^level .*$/gm)].map(([line]) => line)
  expect(headings).toEqual(['level 0 (basic)', 'level 1 (reversals)', 'level 2 (batch)', 'level 3 (settlements)'])
  expect(stdout).toContain(
    '\n  ✓ an original that arrives after its reversal is refused, and moves nothing: REVERSED\n',
  )
  expect(stdout).not.toMatch(/✗|–/)
  expect(stdout).toMatch(
    /\nleft behind: [0-9]+ accounts, all empty, and their entries\n\nkeeps level 3 \(settlements\)\n$/,
  )
  expect(`${stdout}${stderr}`).not.toContain(ADMIN_KEY)
  await expectNothingLeft(wallet)
})

test('--json tells the same on one line, of a wallet in memory of each level', async () => {
  await Promise.all(
    ['basic', 'reversals', 'batch', 'settlements'].map(async (name, level) => {
      const wallet = await shop.wallet(['--memory', '--level', name])
      const { status, stdout, stderr } = await conformance(wallet.url, '--json')
      const report = JSON.parse(stdout)
      const broken = report.promises.filter((promise: { readonly result: string }) => promise.result !== 'kept')
      expect({ status, stderr, broken }).toEqual({ status: 0, stderr: '', broken: [] })
      expect(report).toMatchObject({
        ...{ wallet_url: wallet.url, claims: { level, name }, keeps: { level, name }, kept: true },
        left: { not_empty: [] },
      })
      expect(report.promises.length).toBeGreaterThan(0)
    }),
  )
})

test('a broken wallet: status 1, the promise by its name, and the level that is left', async () => {
  const wallet = await openWallet('settlements', { wallet: settlesInHalf })
  const { status, stdout } = await shop.run(['conformance', '--wallet-url', wallet.url, '--token', TOKEN])
  await wallet.close()
  expect(status).toBe(1)
  expect(stdout).toContain(
    '\n  ✗ a settlement that one account can not pay moves nothing at all: INSUFFICIENT_BALANCE\n',
  )
  expect(stdout.endsWith('\nkeeps level 2 (batch), says it keeps level 3 (settlements)\n')).toBe(true)
})

test('what keeps it from beginning is said in a sentence', async () => {
  const wallet = await shop.wallet(['--memory'])
  const refusals = [
    [await shop.run(['conformance'], ENV), 2, 'name the wallet with --wallet-url'],
    [
      await shop.run(['conformance', '--wallet-url', wallet.url]),
      2,
      'no token: set LEGWORK_WALLET_TOKEN, or give --token',
    ],
    [await conformance(wallet.url, '--token', 'wrong'), 4, `${wallet.url} does not take the token (401)`],
    [await conformance('http://127.0.0.1:59'), 7, "http://127.0.0.1:59 can't be reached: connect ECONNREFUSED"],
    [await conformance(`${wallet.url}/elsewhere`), 4, 'is that the wallet?'],
  ] as const
  for (const [ended, status, message] of refusals) {
    expect(ended).toMatchObject({ status, stdout: '' })
    expect(ended.stderr).toContain(`legwork: `)
    expect(ended.stderr).toContain(message)
    expect(ended.stderr).not.toContain(ADMIN_KEY)
  }
})

test('interrupted, it withdraws what it has deposited', async () => {
  await writeFile(shop.path('slow.yaml'), 'rules:\n  - { fault: slow, ms: 50 }\n')
  const wallet = await shop.wallet(['--memory', '--faults', 'slow.yaml'])
  const started = shop.start(['conformance', '--wallet-url', wallet.url], ENV)
  await until('some promises are tried', async () => started.output().stdout.includes('currencies have accounts'))
  started.signal('SIGINT')
  const { status, stdout, stderr } = await started.ended
  expect(status).toBe(130)
  expect(stderr).toBe('legwork: interrupted; what was deposited has been withdrawn as far as possible\n')
  expect(stdout).not.toContain('left behind')
  await expectNothingLeft(wallet)
})
