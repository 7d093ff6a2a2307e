/** How long it takes from the answer that turns a settlement until its four applied legs are undone and it is stored. */
import assert from 'node:assert/strict'
import type { UpServer, Workshop } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  fund,
  handIn,
  openMemoryWallet,
  openServe,
  type RigTrade,
  settings,
  tradeSeen,
  tradesApart,
  usersOf,
} from '../support/wallet-rig.ts'

export interface RollbackSpeedOptions {
  readonly rollbacks: number
}

export interface RollbackSpeedResult extends RollbackSpeedOptions {
  readonly campaign: 'rollback-speed'
  readonly legs_undone: 4
  /** From the wallet's answer on, as a client sees it that asks for the trade again and again. */
  readonly p50_ms: number
  readonly p99_ms: number
}

/** One after another; the last leg before the fee is applied, and no answer to it ever says so. */
export async function rollbackSpeed(shop: Workshop, options: RollbackSpeedOptions): Promise<RollbackSpeedResult> {
  const wallet = await openMemoryWallet(shop, 'reversals')
  const trades = tradesApart(1, options.rollbacks + WARM_UP)
  await fund(wallet, usersOf(trades))
  const env = settings({ retry_max_attempts: 0 })
  const server = await openServe(shop, wallet, ['--data-dir', shop.path('rollback-speed')], env)
  await wallet.faults([{ call: 'apply', leg: 'seller-credit', fault: 'status', status: 500, when: 'after' }])
  const times: number[] = []
  for (const trade of trades) {
    await handIn(server, [trade])
    const seenAtMs = await whenFailed(server, trade)
    const turned = (await wallet.faultLog()).at(-1)
    assert.equal(turned?.trade_id, trade.id)
    times.push(seenAtMs - Date.parse(turned.at))
  }
  await atRest(server, trades.length)
  const { failed } = await audit(server, wallet, trades)
  assert.equal(failed, trades.length)
  server.signal('SIGTERM')
  await server.ended
  const sorted = times.slice(WARM_UP).toSorted((one, other) => one - other)
  const percentile = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
  return { campaign: 'rollback-speed', ...options, legs_undone: 4, p50_ms: percentile(0.5), p99_ms: percentile(0.99) }
}

const WARM_UP = 20

async function whenFailed(server: UpServer, { id }: RigTrade): Promise<number> {
  const giveUpAtMs = Date.now() + 10_000
  for (;;) {
    const { settlement_status: status, rollback } = await tradeSeen(server, id)
    const nowMs = Date.now()
    if (status === 'SETTLEMENT_FAILED' && rollback === 'complete') return nowMs
    assert.ok(nowMs < giveUpAtMs, 'the trade is rolled back')
  }
}
