import type { Asset } from '../../core/market.ts'
import type { BookedWallet } from '../../wallet/wallet.ts'
import type { App } from '../app.ts'
import type { NotReady } from '../routes/health-show.ts'
import { balanceShowRoute } from './routes/balance-show.ts'
import { batchApplyRoute } from './routes/batch-apply.ts'
import { capabilitiesShowRoute, reaches } from './routes/capabilities-show.ts'
import { entriesExportRoute } from './routes/entries-export.ts'
import { entriesListRoute } from './routes/entries-list.ts'
import { holdPlaceRoute } from './routes/hold-place.ts'
import { holdReleaseRoute } from './routes/hold-release.ts'
import { keyReverseRoute } from './routes/key-reverse.ts'
import { keyShowRoute } from './routes/key-show.ts'
import { operationApplyRoutes } from './routes/operation-apply.ts'
import { settlementsApplyRoute } from './routes/settlements-apply.ts'
import { totalsListRoute } from './routes/totals-list.ts'

/** What the wallet's routes need: nothing of trades or their settlement. */
export interface WalletServices {
  readonly wallet: BookedWallet
  /** By code; may grow while the server runs. */
  readonly assets: ReadonlyMap<string, Asset>
}

/**
 * The wallet protocol over HTTP (docs/wallet-protocol.md): viewers read, operators settle, and admins also move money in and
 * out; `app` asks for the key. What the wallet's level does not have is not there at all: that a wallet of level `basic` does not know `/v1/capabilities` is how a
 * client tells.
 */
export async function walletRoutes(app: App, services: WalletServices, notReady: NotReady): Promise<void> {
  const { level, holds, batchMax, settlementsMax } = await services.wallet.capabilities()
  operationApplyRoutes(app, services)
  balanceShowRoute(app, services)
  if (!reaches(level, 'reversals')) return
  keyReverseRoute(app, services)
  keyShowRoute(app, services)
  entriesListRoute(app, services)
  entriesExportRoute(app, services)
  totalsListRoute(app, services)
  capabilitiesShowRoute(app, services, notReady)
  if (holds) {
    holdPlaceRoute(app, services)
    holdReleaseRoute(app, services)
  }
  if (reaches(level, 'batch')) batchApplyRoute(app, services, batchMax)
  if (reaches(level, 'settlements')) settlementsApplyRoute(app, services, settlementsMax)
}
