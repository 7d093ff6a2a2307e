import type { Clock } from '../../clock.ts'
import type { Instruments } from '../../core/instruments.ts'
import type { OrderDesk } from '../../orders/desk.ts'
import type { OperatorStore } from '../../store/operator-store.ts'
import type { WalletLevel } from '../../wallet/wallet.ts'
import type { DeadLetterDesk } from '../../worker/dead-letter-desk.ts'
import type { Monitor } from '../../worker/monitor.ts'
import type { WorkerPool } from '../../worker/pool.ts'
import type { App } from '../app.ts'
import { bulkRetryItemsRoute } from './routes/bulk-retry-items.ts'
import { bulkRetryShowRoute } from './routes/bulk-retry-show.ts'
import { letterResolveRoute } from './routes/letter-resolve.ts'
import { letterRetryRoute } from './routes/letter-retry.ts'
import { letterShowRoute } from './routes/letter-show.ts'
import { lettersListRoute } from './routes/letters-list.ts'
import { lettersRetryRoute } from './routes/letters-retry.ts'
import { settlementSwitchRoutes } from './routes/settlement-switch.ts'
import { statusShowRoute } from './routes/status-show.ts'

/** What the routes of operators need. */
export interface AdminServices {
  readonly operators: OperatorStore
  readonly desk: DeadLetterDesk
  readonly pool: Pick<WorkerPool, 'status'>
  readonly monitor: Pick<Monitor, 'figures'>
  readonly orders: Pick<OrderDesk, 'isLeading' | 'refusedForFunds'>
  /** May grow while the server runs. */
  readonly instruments: Instruments
  readonly clock: Clock
  /** The wallet settled on, as it is at this moment. */
  readonly walletStatus: () => WalletStatus
}

/** `url` null: the built-in ledger. */
export interface WalletStatus {
  readonly url: string | null
  readonly level: WalletLevel
  readonly circuit: 'closed' | 'open' | 'half_open'
}

/** `/v1/admin/…`: viewers read, operators change. `app` asks for the key. */
export function adminRoutes(app: App, services: AdminServices): void {
  lettersListRoute(app, services)
  letterShowRoute(app, services)
  letterRetryRoute(app, services)
  letterResolveRoute(app, services)
  lettersRetryRoute(app, services)
  bulkRetryShowRoute(app, services)
  bulkRetryItemsRoute(app, services)
  settlementSwitchRoutes(app, services)
  statusShowRoute(app, services)
}
