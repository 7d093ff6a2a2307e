/**
 * The long form of what the tests of a wallet over the network, and of our own, show in seconds: real processes on this
 * machine alone, a line of JSON for each campaign, and an end with status 1 where one does not hold. About ten minutes on
 * two cores.
 *
 *   npm run soak                          all of it
 *   npm run soak -- --only outage         the campaigns of that name
 *   npm run soak -- --seed 7 --scale 0.2  other trades go wrong; a fifth of the trades
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { simulateMatching } from '../simulation/matching.ts'
import { openWorkshop, type Workshop } from '../support/process.ts'
import { LEVELS } from '../support/wallet-rig.ts'
import { bulkRetry } from './bulk-retry.ts'
import { ordersKilled } from './orders-killed.ts'
import { outage } from './outage.ts'
import { rollbackSpeed } from './rollback-speed.ts'
import { unsteady } from './unsteady.ts'
import { walletChaos } from './wallet-chaos.ts'
import { workers } from './workers.ts'

interface Campaign {
  readonly name: string
  readonly run: (shop: Workshop) => Promise<object>
}

function campaignsOf(seed: number, scale: number): readonly Campaign[] {
  const scaled = (count: number): number => Math.max(50, Math.round(count * scale))
  return [
    {
      name: 'rollback-speed',
      run: async shop => {
        const result = await rollbackSpeed(shop, { rollbacks: scaled(1000) })
        assert.ok(result.p99_ms < 20, JSON.stringify(result))
        return result
      },
    },
    ...(['batch', 'settlements'] as const).map(level => ({
      name: 'bulk-retry',
      run: async (shop: Workshop) => await bulkRetry(shop, { level, trades: scaled(1000) }),
    })),
    ...LEVELS.map(level => ({
      name: 'unsteady',
      run: async (shop: Workshop) => {
        const result = await unsteady(shop, { level, trades: scaled(5000), seed })
        assert.ok(result.resolved_percent > 99, JSON.stringify(result))
        return result
      },
    })),
    ...(['port', 'killed', 'database'] as const).flatMap(how =>
      (['reversals', 'settlements'] as const).map(level => ({
        name: 'outage',
        run: async (shop: Workshop) => {
          const result = await outage(shop, { how, level, downMs: 30_000, perSecond: 100 })
          assert.ok(result.resumed_ms < 2000, JSON.stringify(result))
          return result
        },
      })),
    ),
    ...(['reversals', 'settlements'] as const).map(level => ({
      name: 'workers',
      run: async (shop: Workshop) => await workers(shop, { level, trades: scaled(5000), kills: 12, seed }),
    })),
    ...[true, false].map(holds => ({
      name: 'wallet-chaos',
      run: async (shop: Workshop) => await walletChaos(shop, { operations: scaled(10_000), seed, holds }),
    })),
    {
      name: 'orders-killed',
      run: async shop => await ordersKilled(shop, { kills: Math.ceil(20 * scale), clients: 8, longestMs: 1500, seed }),
    },
    // In this process: the matching engine beside its oracle.
    {
      name: 'matching',
      run: () => Promise.resolve({ campaign: 'matching', ...simulateMatching(seed, scaled(1_000_000)) }),
    },
  ]
}

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    scale: { type: 'string', default: '1' },
  },
})
const campaigns = campaignsOf(Number(values.seed), Number(values.scale))
const chosen = campaigns.filter(({ name }) => values.only === undefined || values.only === name)
assert.ok(chosen.length > 0, `--only: ${[...new Set(campaigns.map(({ name }) => name))].join(', ')}`)

/** The processes of the campaign under way; they end with this one, however it ends. */
let shop: Workshop | null = null
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void (shop?.close() ?? Promise.resolve()).finally(() => process.exit(130))
  })
}
for (const { name, run } of chosen) {
  shop = await openWorkshop()
  try {
    process.stdout.write(`${JSON.stringify(await run(shop))}\n`)
  } catch (error) {
    process.exitCode = 1
    process.stderr.write(`${name} does not hold: ${error instanceof Error ? error.stack : String(error)}\n`)
  } finally {
    await shop.close()
  }
}
