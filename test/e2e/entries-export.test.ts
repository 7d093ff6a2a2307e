import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrate } from '../../src/migrate.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { BUSY_USER, ENTRIES_OF_OTHERS, SINCE_MS, writeManyEntries } from '../support/many-entries.ts'
import {
  ADMIN_KEY,
  LEGWORK,
  onLinux,
  openWorkshop,
  peakMemoryMiB,
  type UpServer,
  until,
  type Workshop,
} from '../support/process.ts'
import { request } from '../support/raw-http.ts'

let shop: Workshop
let db: TestDatabase
let server: UpServer

const BUSY = 60_000
const OTHERS = 100
/** A heap in which the entries of these tests have no room together. */
const SMALL = '--max-old-space-size=48 --max-semi-space-size=2'

beforeAll(async () => {
  ;[shop, db] = await Promise.all([openWorkshop(), createTestDatabase()])
  await migrate(db.database, 'ledger')
  await writeManyEntries(db.database, { busy: BUSY, others: OTHERS })
  server = await shop.wallet(['--database-url', db.url], { env: { NODE_OPTIONS: SMALL } })
})
afterAll(async () => {
  await shop?.close()
  await db?.drop()
})

const exported = (...args: readonly string[]) => shop.run(['entries', 'export', '--url', server.url, ...args])

test('all entries go to standard output, and the server needs little more memory than before', async () => {
  const before = await peakMemoryMiB(server.pid)
  const { status, stdout, stderr } = await exported()
  expect([status, stderr]).toEqual([0, ''])
  const lines = stdout.split('\r\n')
  expect(lines).toHaveLength(BUSY + OTHERS * ENTRIES_OF_OTHERS + 2)
  expect(lines[0]).toBe('id,key,leg,trade_id,user_id,currency,amount,balance_after,reason,at')
  if (onLinux) expect(((await peakMemoryMiB(server.pid)) ?? 0) - (before ?? 0)).toBeLessThan(60)
})

test('an account’s, in the format and the times that are asked for', async () => {
  const account = ['--user-id', BUSY_USER, '--currency', 'USDT']
  const { status, stdout } = await exported('--json', ...account, '--until', '2026-01-01T00:03:00Z')
  expect(status).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines.map(line => JSON.parse(line).balance_after)).toEqual(['1.5', '3'])
  const lastHour = new Date(SINCE_MS + (BUSY - 59) * 60_000).toISOString()
  const csv = await exported('--format', 'csv', '--json', ...account, '--from', lastHour)
  expect(csv.stdout.split('\r\n')).toHaveLength(60 + 2)
})

test('what is wrong is said, and ends as with other commands', async () => {
  for (const [args, status, words] of [
    [['--format', 'xml'], 2, 'Allowed choices are csv, ndjson'],
    [['--user-id', BUSY_USER], 2, 'either trade_id is given, or user_id and currency'],
    [['--from', 'yesterday'], 2, '/from must be an RFC 3339 time'],
  ] as const) {
    const ended = await exported(...args)
    expect([ended.status, ended.stdout, ended.stderr]).toEqual([status, '', expect.stringContaining(words)])
  }
  const elsewhere = await shop.run(['entries', 'export', '--url', 'http://127.0.0.1:9'])
  expect([elsewhere.status, elsewhere.stdout]).toEqual([7, ''])
  const stranger = await shop.run(['entries', 'export', '--url', server.url], {
    env: { LEGWORK_ADMIN_TOKEN: 'another-key-than-that' },
  })
  expect([stranger.status, stranger.stdout]).toEqual([4, ''])
})

test('whoever reads may have enough', async () => {
  const command = `"${LEGWORK}" entries export --url ${server.url} | head -2`
  const { status, stdout, stderr } = await shop.run(['-c', command], { program: '/bin/sh' })
  expect([status, stdout.split('\r\n').length, stderr]).toEqual([0, 3, ''])
})

test('a server that dies on the way leaves an export that does not look whole', async () => {
  const dying = await shop.wallet(['--database-url', db.url])
  const { hostname, port } = new URL(dying.url)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  socket.write(request('GET', '/v1/entries/export?format=ndjson', undefined, { authorization: `Bearer ${ADMIN_KEY}` }))
  const started = shop.start(['entries', 'export', '--json', '--url', dying.url])
  await until('a part has come', async () => started.output().stdout.length > 1_000_000)
  dying.signal('SIGKILL')
  let last = ''
  for await (const chunk of socket) last = `${last}${String(chunk)}`.slice(-5)
  expect(last).not.toBe('0\r\n\r\n')
  const { status, stderr } = await started.ended
  expect([status, stderr]).toEqual([7, expect.stringContaining('what was written so far is not whole')])
})

test('an interruption says so', async () => {
  const started = shop.start(['entries', 'export', '--url', server.url])
  await until('a part has come', async () => started.output().stdout.length > 1_000_000)
  started.signal('SIGINT')
  const { status, stderr } = await started.ended
  expect([status, stderr]).toEqual([130, 'legwork: interrupted: what was written so far is not whole\n'])
})
