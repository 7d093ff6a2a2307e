import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../clock.ts'
import type { Instruments } from '../../core/instruments.ts'
import type { OrderDesk } from '../../orders/desk.ts'
import type { OperatorStore } from '../../store/operator-store.ts'
import type { OrderStore } from '../../store/order-store.ts'
import type { Store } from '../../store/store.ts'
import type { App } from '../app.ts'
import { bookShowRoute } from './routes/book-show.ts'
import { clientOrderRoutes } from './routes/client-order.ts'
import { marketStreamRoute } from './routes/market-stream.ts'
import { marketSwitchRoutes } from './routes/market-switch.ts'
import { marketTradesListRoute } from './routes/market-trades-list.ts'
import { marketsListRoute } from './routes/markets-list.ts'
import { orderCancelRoute } from './routes/order-cancel.ts'
import { orderPlaceRoute } from './routes/order-place.ts'
import { orderReduceRoute } from './routes/order-reduce.ts'
import { orderShowRoute } from './routes/order-show.ts'
import { ordersCancelRoute } from './routes/orders-cancel.ts'
import { ordersListRoute } from './routes/orders-list.ts'
import { ordersPlaceRoute } from './routes/orders-place.ts'
import { ordersStreamRoute } from './routes/orders-stream.ts'
import { createEventStreams } from './streams/event-streams.ts'
import { createFeeds, type Feeds } from './streams/feeds.ts'

/** What the routes of orders and markets need. */
export interface OrderServices {
  readonly orders: OrderDesk
  readonly orderStore: Pick<OrderStore, 'order' | 'orders' | 'byClientOrderIds' | 'haltedMarkets'>
  readonly store: Pick<Store, 'trades'>
  readonly operators: Pick<OperatorStore, 'change'>
  /** May grow while the server runs. */
  readonly instruments: Instruments
  readonly clock: Clock
}

/** `/v1/orders…` and `/v1/markets…`: operators act for any user, a trader for its own; `app` asks for the key. */
export function orderRoutes(app: App, services: OrderServices): void {
  orderPlaceRoute(app, services)
  ordersPlaceRoute(app, services)
  orderReduceRoute(app, services)
  orderCancelRoute(app, services)
  ordersCancelRoute(app, services)
  clientOrderRoutes(app, services)
  orderShowRoute(app, services)
  ordersListRoute(app, services)
  marketsListRoute(app, services)
  bookShowRoute(app, services)
  marketTradesListRoute(app, services)
  marketSwitchRoutes(app, services)
  streamRoutes(app, services)
}

/** Each stream may keep a client's share of memory, and a key looked at. */
const STREAMS = { most: 1000, mostOfKey: 100 } as const
const AHEAD_BYTES = 1024 * 1024

function streamRoutes(app: App, services: OrderServices): void {
  const { clock } = services
  const isStillGood = (request: FastifyRequest): Promise<boolean> => app.isStillGood(request)
  const streams = createEventStreams({ clock, ...STREAMS, aheadBytes: AHEAD_BYTES, isStillGood })
  app.addHook('preClose', async () => streams.close())
  let made: Feeds | null = null
  // The desk is listened to once somebody asks.
  const feeds = (): Feeds => {
    made ??= createFeeds({ ...services, log: app.log })
    return made
  }
  marketStreamRoute(app, services, { streams, feeds })
  ordersStreamRoute(app, services, { streams, feeds })
}
