/** Many settlements that stopped for one cause are put back to work with one command, and all settle. */
import assert from 'node:assert/strict'
import type { Workshop } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  fund,
  handIn,
  type Level,
  openMemoryWallet,
  openServe,
  tradesAmong,
  uuid,
} from '../support/wallet-rig.ts'

export interface BulkRetryOptions {
  readonly level: Level
  readonly trades: number
}

export interface BulkRetryResult extends BulkRetryOptions {
  readonly campaign: 'bulk-retry'
  readonly settled: number
  readonly seconds: number
}

const USERS = Array.from({ length: 40 }, (_, at) => uuid('a', at))

export async function bulkRetry(shop: Workshop, options: BulkRetryOptions): Promise<BulkRetryResult> {
  const { level, trades: count } = options
  const wallet = await openMemoryWallet(shop, level)
  const server = await openServe(shop, wallet, ['--data-dir', shop.path(`bulk-retry-${level}`)])
  const trades = tradesAmong(USERS, 1, count)
  // Nobody has any money yet.
  await handIn(server, trades)
  const { dead_letters: letters } = await atRest(server, count)
  assert.equal(letters, count)
  await fund(wallet, USERS)
  const beganMs = performance.now()
  const which = ['--code', 'INSUFFICIENT_BALANCE', '--reason', 'funded', '--json', '--url', server.url]
  const { status, stdout, stderr } = await shop.run(['dead-letters', 'retry', ...which])
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10
  assert.equal(status, 0, stderr)
  const lines = stdout.trim().split('\n')
  assert.equal(lines.length, count + 1)
  const { settled } = await atRest(server, count)
  assert.equal(settled, count)
  const { letters: left } = await audit(server, wallet, trades)
  assert.equal(left.length, 0)
  server.signal('SIGTERM')
  await server.ended
  return { campaign: 'bulk-retry', ...options, settled, seconds }
}
