import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { StatusView } from '../contract.ts'
import type { AdminServices } from '../plugin.ts'

/** `GET /v1/admin/status`: queue, workers, orders, rates and latency of this process; everything else of the whole database. */
export function statusShowRoute(app: App, services: AdminServices): void {
  const schema = {
    tags: ['operation'],
    summary: 'How settlement is doing',
    response: { 200: StatusView, ...PROBLEM_ANSWERS },
  }
  app.get('/v1/admin/status', { schema, config: { role: 'viewer' } }, async () => await statusOf(services))
}

async function statusOf({ operators, pool, monitor, orders, walletStatus, clock }: AdminServices): Promise<StatusView> {
  const kept = await operators.status()
  const { queueDepth, queueCapacity, workersBusy, workersTotal, inFlight } = pool.status()
  const { perSecond, latencyMs } = monitor.figures()
  const ageMs = kept.oldestPendingMs === null ? null : Math.max(clock.now() - kept.oldestPendingMs, 0)
  return {
    queue: { depth: queueDepth, capacity: queueCapacity },
    workers: { busy: workersBusy, total: workersTotal, utilization: workersBusy / workersTotal },
    in_flight: inFlight,
    pending: kept.pending,
    oldest_pending_seconds: ageMs === null ? null : ageMs / 1000,
    settled: kept.settled,
    failed: kept.failed,
    retries: kept.retries,
    dead_letters: kept.deadLetters,
    incomplete_rollbacks: kept.incompleteRollbacks,
    owed_fees: [...kept.owedFees],
    paused: kept.isPaused,
    wallet: { ...walletStatus() },
    orders: { has_books: orders.isLeading(), refused_for_funds: orders.refusedForFunds() },
    per_second: perSecond,
    latency_ms: latencyMs,
  }
}
