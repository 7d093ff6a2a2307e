import type { Clock } from '../../clock.ts'
import type { Instruments } from '../../core/instruments.ts'
import type { Store } from '../../store/store.ts'
import type { TradeIntake } from '../../worker/intake.ts'

/** What the routes of trades need. */
export interface TradeServices {
  readonly store: Pick<Store, 'trade' | 'trades'>
  readonly intake: TradeIntake
  /** May grow while the server runs. */
  readonly instruments: Instruments
  readonly clock: Clock
  /** Who collects the fees of the trades handed in. */
  readonly feeUserId: string
}
