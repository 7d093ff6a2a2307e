import type { StatusView } from '../../api/admin/contract.ts'
import { openAdminClient, type ServerOptions } from '../admin-client.ts'
import { EXIT, type ExitStatus } from '../exit-status.ts'
import { interruption } from '../signals.ts'
import { tableOf } from '../table.ts'

/** `legwork status`. */
export async function statusCommand(options: ServerOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const status = await client.get<StatusView>('/v1/admin/status', 'legwork up starts a server')
  process.stdout.write(options.json === true ? `${JSON.stringify(status)}\n` : textOf(status))
  return EXIT.done
}

function textOf(status: StatusView): string {
  const { queue, workers, wallet, latency_ms: latency, per_second: rates } = status
  const owed = status.owed_fees.map(({ amount, currency }) => `${amount} ${currency}`).join(', ')
  const age = status.oldest_pending_seconds
  const needsPerson = status.dead_letters > 0 ? '\nlook at them: legwork dead-letters list\n' : ''
  return (
    tableOf([
      ['settlement', status.paused ? 'paused' : 'at work'],
      ['trades', `${many(status.settled)} settled, ${many(status.failed)} failed, ${many(status.pending)} pending`],
      ['oldest pending', age === null ? 'none' : `${age.toFixed(1)} s`],
      ['retries', many(status.retries)],
      [
        'dead letters',
        `${many(status.dead_letters)}, ${many(status.incomplete_rollbacks)} with an incomplete rollback`,
      ],
      ['fees owed', owed === '' ? 'none' : owed],
      ['queue', `${many(queue.depth)} of ${many(queue.capacity)}, ${many(status.in_flight)} in flight`],
      ['workers', `${workers.busy} of ${workers.total} busy (${Math.round(workers.utilization * 100)} %)`],
      ['wallet', `${wallet.url ?? 'built-in'}, level ${wallet.level}, circuit ${wallet.circuit}`],
      [
        'orders',
        `${status.orders.has_books ? 'taken here' : 'taken by another process'}, ` +
          `${many(status.orders.refused_for_funds)} refused for want of funds since the start`,
      ],
      ['lately', `${rates.settled} settled and ${rates.failed} failed a second`],
      [
        'latency',
        latency.p50 === null ? 'nothing settled yet' : `${latency.p50} ms (median), ${latency.p99} ms (99 %)`,
      ],
    ]) + needsPerson
  )
}

function many(number: number): string {
  return number.toLocaleString('en')
}
