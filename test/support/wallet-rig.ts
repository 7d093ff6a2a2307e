/**
 * Legwork against a wallet that is a process of its own, as its users have it: both are started, told what goes wrong,
 * given trades, and looked at through their APIs alone. Shared by the tests and by the soak, so it asserts with node:assert.
 */
import assert from 'node:assert/strict'
import { runningPostgres } from '../../src/postgres/supervisor.ts'
import { ADMIN_KEY, type Started, type UpServer, until, type Workshop } from './process.ts'
import { FEES } from './trades.ts'

export const LEVELS = ['basic', 'reversals', 'batch', 'settlements'] as const
export type Level = (typeof LEVELS)[number]
export const LEGS = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee'] as const
export type LegName = (typeof LEGS)[number]

type Env = Readonly<Record<string, string>>
export type Rule = Readonly<Record<string, unknown>>

/** Retries that take milliseconds instead of seconds. */
export const FAST: Env = settings({
  retry_backoff_ms: 20,
  retry_max_backoff_ms: 200,
  undo_backoff_ms: 20,
  undo_slow_retry_ms: 300,
  poll_ms: 50,
})

/** Settings of `settlement.` as the environment has them. */
export function settings(values: Readonly<Record<string, number | string>>): Env {
  const entries = Object.entries(values)
  return Object.fromEntries(entries.map(([name, value]) => [`LEGWORK_SETTLEMENT_${name.toUpperCase()}`, String(value)]))
}

/** A fault that the wallet applied. */
export interface LoggedFault {
  readonly at: string
  readonly rule: number
  readonly call: string
  readonly key: string | null
  readonly trade_id: string | null
  readonly leg: string | null
  readonly attempt: number
  readonly fault: string
  readonly arrived: boolean
}

export interface RigWallet extends UpServer {
  readonly level: Level
  /** Puts a script in force, counting from zero; none: all goes well. */
  faults(rules?: readonly Rule[]): Promise<void>
  /** The last 10,000 that were applied, oldest first. */
  faultLog(): Promise<readonly LoggedFault[]>
}

export async function openMemoryWallet(
  shop: Workshop,
  level: Level,
  args: readonly string[] = [],
  env: Env = {},
): Promise<RigWallet> {
  return rigWallet(await shop.wallet(['--memory', '--level', level, ...args], { env, deadlineMs: LONGEST_MS }), level)
}

export async function openDurableWallet(
  shop: Workshop,
  level: Level,
  args: readonly string[],
  env: Env = {},
): Promise<RigWallet> {
  return rigWallet(await shop.wallet(['--level', level, ...args], { env, deadlineMs: LONGEST_MS }), level)
}

function rigWallet(server: UpServer, level: Level): RigWallet {
  return {
    ...server,
    level,
    faults: async (rules = []) => {
      const answer = await fetch(`${server.url}/v1/faults`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ rules }),
      })
      assert.equal(answer.status, 200, await answer.text())
    },
    faultLog: async () => {
      const { faults } = await read<{ readonly faults: readonly LoggedFault[] }>(server, '/v1/faults/log')
      return faults
    },
  }
}

/** A process that is not ended by whoever started it is ended after this. */
const LONGEST_MS = 600_000

/** `legwork serve` on its embedded PostgreSQL, or on the one of `args`, settling on a wallet. */
export async function openServe(
  shop: Workshop,
  wallet: { readonly url: string },
  args: readonly string[],
  env: Env = {},
): Promise<UpServer> {
  const all = ['--wallet-url', wallet.url, ...args]
  return await shop.serverOf('serve', all, { env: { ...TOKEN, ...env }, deadlineMs: LONGEST_MS })
}

const TOKEN: Env = { LEGWORK_WALLET_TOKEN: ADMIN_KEY }

/** `legwork worker`, ready. */
export async function openWorker(
  shop: Workshop,
  wallet: { readonly url: string },
  databaseUrl: string,
  env: Env = {},
): Promise<Started> {
  const args = ['worker', '--json', '--database-url', databaseUrl, '--wallet-url', wallet.url]
  const started = shop.start(args, { env: { ...TOKEN, ...env }, deadlineMs: LONGEST_MS })
  await until('the worker is ready', async () => {
    assert.ok(!started.hasEnded(), started.output().stderr)
    return started.output().stdout.includes('\n')
  })
  return started
}

/** The address of the embedded PostgreSQL at work in a data folder. */
export async function databaseUrlOf(dataDir: string): Promise<string> {
  const running = await runningPostgres(dataDir)
  assert.ok(running !== null)
  const { user, password, database, host, port } = running
  const at = new URLSearchParams({ host, port: String(port) })
  return `postgres://${user}:${encodeURIComponent(password)}@/${database}?${at.toString()}`
}

// Trades

export interface RigTrade {
  readonly id: string
  readonly symbol: string
  readonly buyer_user_id: string
  readonly seller_user_id: string
  readonly price: string
  readonly quantity: string
  readonly buyer_fee: string
  readonly seller_fee: string
}

/** Of each trade of these tests, in USDT. */
const FEE = 0.03

export function tradeOf(number: number, buyer: string, seller: string): RigTrade {
  return {
    id: uuid('b', number),
    symbol: 'BTC/USDT',
    buyer_user_id: buyer,
    seller_user_id: seller,
    price: '100',
    quantity: '0.01',
    buyer_fee: '0.02',
    seller_fee: '0.01',
  }
}

/** Trades from number `first` on between users of a small town, no two alike in a row. */
export function tradesAmong(users: readonly string[], first: number, count: number): readonly RigTrade[] {
  return Array.from({ length: count }, (_, at) => {
    const buyer = (first + at) % users.length
    const seller = (buyer + 1 + ((first + at) % (users.length - 1))) % users.length
    return tradeOf(first + at, users[buyer] ?? '', users[seller] ?? '')
  })
}

/** Trades from number `first` on, each between two users who have no other. */
export function tradesApart(first: number, count: number): readonly RigTrade[] {
  return Array.from({ length: count }, (_, at) => tradeOf(first + at, uuid('c', first + at), uuid('d', first + at)))
}

export function usersOf(trades: readonly RigTrade[]): readonly string[] {
  return [...new Set(trades.flatMap(trade => [trade.buyer_user_id, trade.seller_user_id]))]
}

export function uuid(variety: string, number: number): string {
  return `00000000-0000-4000-8000-${variety}${number.toString(16).padStart(11, '0')}`
}

export const DEPOSITS = { USDT: '100000', BTC: '1000' } as const

/** Gives users what they trade with. */
export async function fund(wallet: UpServer, users: readonly string[]): Promise<void> {
  const deposits = users.flatMap(user =>
    Object.entries(DEPOSITS).map(([currency, amount]) => ({ user, currency, amount })),
  )
  for (let at = 0; at < deposits.length; at += 50) {
    const answers = deposits.slice(at, at + 50).map(async ({ user, currency, amount }) => {
      const body = { user_id: user, currency, amount, reason: 'DEPOSIT' }
      const answer = await wallet.post('/v1/credits', body, { 'idempotency-key': `deposit ${user} ${currency}` })
      assert.ok([200, 201].includes(answer.status), JSON.stringify(answer))
    })
    await Promise.all(answers)
  }
}

const IN_ONE_CALL = 500

export async function handIn(server: UpServer, trades: readonly RigTrade[]): Promise<void> {
  for (let at = 0; at < trades.length; at += IN_ONE_CALL) {
    const answer = await server.post('/v1/trades', { trades: trades.slice(at, at + IN_ONE_CALL) })
    assert.equal(answer.status, 202, JSON.stringify(answer))
  }
}

// Looking

export interface Status {
  readonly in_flight: number
  readonly pending: number
  readonly settled: number
  readonly failed: number
  readonly retries: number
  readonly dead_letters: number
  readonly incomplete_rollbacks: number
  readonly owed_fees: readonly { readonly currency: string; readonly amount: string }[]
  readonly workers: { readonly busy: number; readonly total: number }
  readonly wallet: { readonly circuit: string }
}

export async function read<Body>(server: UpServer, path: string): Promise<Body> {
  const { status, body } = await server.get(path)
  assert.equal(status, 200, `${path}: ${JSON.stringify(body)}`)
  return body as Body
}

export async function statusOf(server: UpServer): Promise<Status> {
  return await read<Status>(server, '/v1/admin/status')
}

/** Waits until nothing is under way any more: nothing pending, no rollback that goes on, no fee that is still tried. */
export async function atRest(server: UpServer, trades: number, deadlineMs?: number): Promise<Status> {
  return await until(
    'all is at rest',
    async () => {
      const status = await statusOf(server)
      const isEnded = status.pending === 0 && status.settled + status.failed === trades
      if (!isEnded || status.incomplete_rollbacks > 0) return null
      const owed = status.owed_fees.reduce((sum, { amount }) => sum + Number(amount), 0)
      const parked = owed === 0 ? 0 : (await openLetters(server)).filter(({ kind }) => kind === 'fee').length
      return Math.abs(owed - parked * FEE) < FEE / 2 ? status : null
    },
    deadlineMs,
  )
}

export interface Letters {
  readonly dead_letters: readonly Letter[]
  readonly next_cursor: string | null
}

export interface Letter {
  readonly trade_id: string
  readonly kind: 'settlement' | 'fee'
  readonly code: string
  readonly rollback: string
  readonly status: string
  readonly legs: readonly TradeLeg[]
}

export interface TradeLeg {
  readonly leg: LegName
  readonly user_id: string
  readonly currency: string
  readonly type: 'debit' | 'credit'
  readonly amount: string
  readonly state: 'waiting' | 'applied' | 'refused' | 'unanswered' | 'reversed'
  readonly attempts: number
}

export interface TradeSeen {
  readonly id: string
  readonly settlement_status: 'PENDING' | 'SETTLED' | 'SETTLEMENT_FAILED'
  readonly settlement_retry_count: number
  readonly failure_reason: string | null
  readonly rollback: string
  readonly epoch: number
  readonly legs: readonly TradeLeg[]
}

export async function tradeSeen(server: UpServer, id: string): Promise<TradeSeen> {
  return (await read<{ readonly trade: TradeSeen }>(server, `/v1/trades/${id}`)).trade
}

export async function openLetters(server: UpServer): Promise<readonly Letter[]> {
  return await allPages(
    server,
    '/v1/admin/dead-letters?status=open&limit=1000',
    ({ dead_letters }: Letters) => dead_letters,
  )
}

/** Every item of a list that comes in pages. */
export async function allPages<Page extends { readonly next_cursor: string | null }, Item>(
  server: UpServer,
  path: string,
  itemsOf: (page: Page) => readonly Item[],
): Promise<readonly Item[]> {
  const items: Item[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: Page = await read<Page>(server, cursor === '' ? path : `${path}&cursor=${cursor}`)
    items.push(...itemsOf(page))
    cursor = page.next_cursor
  }
  return items
}

export { FEES }
