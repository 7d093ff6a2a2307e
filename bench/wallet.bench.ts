/**
 * The wallet service on PostgreSQL over HTTP, everything durable: single debits and credits, a request each on a connection
 * of its own; batches of them; and settlements of five legs, many in a call. Once with nothing but some accounts in its
 * tables, and where asked for once more with many accounts and entries: a wallet must not get slower as it fills. Beside it,
 * in the same run on the same PostgreSQL, the plain way: a transaction for each operation, without HTTP.
 *
 *   npm run bench:wallet -- --accounts 100 --filled-accounts 1000000 --filled-entries 10000000
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { type Database, openDatabase, transaction } from '../src/db.ts'
import { createLogger } from '../src/log.ts'
import { runningPostgres } from '../src/postgres/supervisor.ts'
import { createPipelinedTransport } from '../src/wallet/http/pipelined-transport.ts'
import type { HttpTransport } from '../src/wallet/http/transport.ts'
import { carrying, mixed, onServer, type Timed, TOKEN, timed, userAt } from './load.ts'

export interface WalletBenchOptions {
  /** Single debits and credits. */
  readonly singles: number
  readonly connections: number
  /** Operations in batches of 1,000. */
  readonly batched: number
  /** Settlements of five legs, in calls of 500. */
  readonly settlements: number
  readonly accounts: number
  /** Of the second wallet; 0: there is none. */
  readonly filledAccounts: number
  readonly filledEntries: number
}

interface WalletFigures {
  readonly singles: Timed
  readonly batched: Timed
  readonly settlements: Timed
}

export interface WalletBenchResult {
  readonly bench: 'wallet'
  readonly node: string
  readonly cpu: string
  readonly parameters: WalletBenchOptions
  readonly wallet: WalletFigures
  readonly filled: WalletFigures | null
  /** The plain way; on the connections that do best, 32. */
  readonly plain: Timed
  /** How many times as fast the empty one is. */
  readonly empty_to_filled: Readonly<Record<keyof WalletFigures, number>> | null
  readonly batched_to_plain: number
}

const BATCH = 1000
const SETTLEMENTS = 500
/** Requests under way at the same time that carry many. */
const CALLERS = 4
const PLAIN_CONNECTIONS = 32
const FEE_USER = '00000000-0000-0000-0000-000000000001'
/** More than all that is taken. */
const DEPOSIT = '1000000000'

export async function bench(options: WalletBenchOptions): Promise<WalletBenchResult> {
  const { accounts, filledAccounts, filledEntries } = options
  const { wallet, plain } = await onWallet(accounts, 0, async (url, folder) => ({
    wallet: await measureWarm(url, options, accounts),
    plain: await plainly(folder, options, accounts),
  }))
  const filled =
    filledAccounts === 0
      ? null
      : await onWallet(filledAccounts, filledEntries, url => measureWarm(url, options, filledAccounts))
  const ratio = (of: keyof WalletFigures): number =>
    Math.round((wallet[of].per_second / (filled?.[of].per_second ?? 1)) * 100) / 100
  return {
    bench: 'wallet',
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model}`,
    parameters: options,
    wallet,
    filled,
    empty_to_filled:
      filled === null
        ? null
        : { singles: ratio('singles'), batched: ratio('batched'), settlements: ratio('settlements') },
    plain,
    batched_to_plain: Math.round((wallet.batched.per_second / plain.per_second) * 10) / 10,
  }
}

async function onWallet<Result>(
  accounts: number,
  entries: number,
  work: (url: string, folder: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'legwork-bench-'))
  try {
    return await onServer(['wallet', '--data-dir', folder], async url => {
      await fill(folder, accounts, entries)
      return await work(url, folder)
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Accounts as the wallet would have made them, with a deposit each, and more entries on them: written by SQL, for speed. */
async function fill(folder: string, accounts: number, entries: number): Promise<void> {
  const database = await databaseOf(folder, 1)
  const users = Math.ceil(accounts / 2)
  const each = Math.max(1, Math.floor(entries / (users * 2)))
  try {
    for (const text of [
      `insert into ledger_operations (key, kind, status, user_id, currency, amount, reason, balance_after, at)
       select 'fill ' || currency || ' ' || seq || ' ' || n, 'credit', 'applied', ${userOf('n')}, currency,
         ${DEPOSIT}, 'DEPOSIT', ${DEPOSIT}.0 * seq, now()
       from generate_series(0, ${users - 1}) n, unnest(array['BTC', 'USDT']) currency, generate_series(1, ${each}) seq`,
      `insert into ledger_entries (user_id, currency, seq, key, amount, balance_after, reason, at)
       select ${userOf('n')}, currency, seq, 'fill ' || currency || ' ' || seq || ' ' || n, ${DEPOSIT},
         ${DEPOSIT}.0 * seq, 'DEPOSIT', now()
       from generate_series(0, ${users - 1}) n, unnest(array['BTC', 'USDT']) currency, generate_series(1, ${each}) seq`,
      `insert into ledger_accounts (user_id, currency, balance, entry_count, may_overdraw)
       select ${userOf('n')}, currency, ${DEPOSIT}.0 * ${each}, ${each}, false
       from generate_series(0, ${users - 1}) n, unnest(array['BTC', 'USDT']) currency`,
      `insert into ledger_totals (currency, balances, clearing, deposits, withdrawals)
       select currency, ${DEPOSIT}.0 * ${each} * ${users}, 0, ${DEPOSIT}.0 * ${each} * ${users}, 0
       from unnest(array['BTC', 'USDT']) currency`,
      'vacuum analyze',
      'checkpoint',
    ]) {
      await database.query(text)
    }
  } finally {
    await database.end()
  }
}

async function databaseOf(folder: string, connections: number): Promise<Database> {
  const running = await runningPostgres(folder)
  if (running === null) throw new Error('the wallet has no database')
  return openDatabase(running, connections)
}

/** What a first version of a wallet does: a row lock, an entry and a commit for each operation. */
async function plainly(folder: string, { singles }: WalletBenchOptions, accounts: number): Promise<Timed> {
  const users = Math.ceil(accounts / 2)
  const database = await databaseOf(folder, PLAIN_CONNECTIONS)
  try {
    await database.query(`
      create table plain_accounts (
        user_id uuid, currency text, balance numeric not null check (balance >= 0), primary key (user_id, currency)
      );
      create table plain_entries (
        key text primary key, user_id uuid not null, currency text not null, amount numeric not null, trade_id uuid not null
      );
      insert into plain_accounts
      select ${userOf('n')}, currency, ${DEPOSIT} from generate_series(0, ${users - 1}) n, unnest(array['BTC', 'USDT']) currency`)
    return await timed(Math.ceil(singles / 3), PLAIN_CONNECTIONS, at =>
      transaction(database, async connection => {
        const { type, key, body } = singleOf('p', at, users)
        const { user_id: user, currency, amount, trade_id: trade } = body
        const change = type === 'debit' ? `-${amount}` : amount
        const account = [user, currency, change]
        await connection.query('insert into plain_entries values ($4, $1, $2, $3, $5)', [...account, key, trade])
        await connection.query(
          'update plain_accounts set balance = balance + $3 where user_id = $1 and currency = $2',
          account,
        )
      }),
    )
  } finally {
    await database.end()
  }
}

/** The SQL of what `userAt` says. */
function userOf(number: string): string {
  return `lpad(to_hex(${number}), 32, '0')::uuid`
}

/** A moment of each first: code that has never run is slow once. */
async function measureWarm(url: string, options: WalletBenchOptions, accounts: number): Promise<WalletFigures> {
  const { singles, batched, settlements } = options
  const some = { singles: singles / 10, batched: batched / 10, settlements: settlements / 10 }
  await measure(url, { ...options, ...some }, accounts, 'w')
  return await measure(url, options, accounts, 'm')
}

async function measure(
  url: string,
  options: WalletBenchOptions,
  accounts: number,
  run: string,
): Promise<WalletFigures> {
  const users = Math.ceil(accounts / 2)
  const transport = createPipelinedTransport({
    url,
    headers: { Authorization: `Bearer ${TOKEN}` },
    clock: systemClock(),
    log: createLogger('warn'),
    isPipelined: false,
    maxConnections: options.connections,
  })
  try {
    const singles = await timed(options.singles, options.connections, at => {
      const { type, key, body } = singleOf(run, at, users)
      return ask(transport, `/v1/${type}s`, body, 1, { 'Idempotency-Key': key })
    })
    const batched = await timed(Math.ceil(options.batched / BATCH), CALLERS, at => {
      const operations = Array.from({ length: BATCH }, (_, index) => {
        const { type, key, body } = singleOf(`${run} b`, at * BATCH + index, users)
        return { type, key, ...body }
      })
      return ask(transport, '/v1/batch', { operations }, BATCH)
    })
    const settlements = await timed(Math.ceil(options.settlements / SETTLEMENTS), CALLERS, at => {
      const calls = Array.from({ length: SETTLEMENTS }, (_, index) =>
        settlementOf(run, at * SETTLEMENTS + index, users),
      )
      return ask(transport, '/v1/settlements', { settlements: calls }, SETTLEMENTS)
    })
    return { singles, batched: carrying(batched, BATCH), settlements: carrying(settlements, SETTLEMENTS) }
  } finally {
    transport.close()
  }
}

interface Single {
  readonly type: 'debit' | 'credit'
  readonly key: string
  readonly body: Readonly<Record<string, string>>
}

/** Of a user at random, the same in every run; debits and credits in turn. */
function singleOf(run: string, at: number, users: number): Single {
  return {
    type: at % 2 === 0 ? 'debit' : 'credit',
    key: `${run} ${at}`,
    body: {
      user_id: userAt(mixed(at) % users),
      currency: at % 4 < 2 ? 'USDT' : 'BTC',
      amount: `0.${String((at % 9999) + 1).padStart(4, '0')}`,
      reason: 'TRADE_SETTLEMENT',
      trade_id: userAt(at),
    },
  }
}

function settlementOf(run: string, at: number, users: number) {
  const buyer = userAt(mixed(at) % users)
  const seller = userAt(mixed(at + 1) % users)
  const leg = (type: string, user_id: string, currency: string, amount: string) => {
    return { type, user_id, currency, amount, reason: user_id === FEE_USER ? 'FEE_COLLECTION' : 'TRADE_SETTLEMENT' }
  }
  return {
    key: `${run} s ${at}`,
    trade_id: userAt(at),
    legs: [
      leg('debit', buyer, 'USDT', '60.06'),
      leg('credit', buyer, 'BTC', '0.001'),
      leg('debit', seller, 'BTC', '0.001'),
      leg('credit', seller, 'USDT', '59.94'),
      leg('credit', FEE_USER, 'USDT', '0.12'),
    ],
  }
}

/** Throws unless all that a call asks for is done. */
async function ask(
  transport: HttpTransport,
  path: string,
  body: object,
  many: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const sent = await transport.send({ method: 'POST', path, headers, body: JSON.stringify(body), deadlineMs: 60_000 })
  if (sent.kind !== 'answer') throw new Error(`${path}: ${sent.code}`)
  const done = sent.body.split(/"status":"(?:applied|settled)"/).length - 1
  if (sent.status >= 300 || done !== many) throw new Error(`${path}: ${sent.status} ${sent.body.slice(0, 500)}`)
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      singles: { type: 'string', default: '30000' },
      connections: { type: 'string', default: '64' },
      batched: { type: 'string', default: '200000' },
      settlements: { type: 'string', default: '40000' },
      accounts: { type: 'string', default: '100' },
      'filled-accounts': { type: 'string', default: '0' },
      'filled-entries': { type: 'string', default: '0' },
    },
  })
  const result = await bench({
    singles: +values.singles,
    connections: +values.connections,
    batched: +values.batched,
    settlements: +values.settlements,
    accounts: +values.accounts,
    filledAccounts: +values['filled-accounts'],
    filledEntries: +values['filled-entries'],
  })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
