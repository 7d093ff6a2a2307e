/** What the stream of a user tells of a batch: its trades, then its orders as they are now. */
import type { Instruments } from '../../../core/instruments.ts'
import type { MarketChanges } from '../../../orders/market-desk.ts'
import { viewTrade } from '../../trade-view.ts'
import { viewOrder } from '../order-view.ts'

/** @param isFollowed whether anything is to be told to a user: most orders are nobody's who looks. */
export function tellUsers(
  { placed, changed, trades }: MarketChanges,
  instruments: Instruments,
  isFollowed: (userId: string) => boolean,
  tell: (userId: string, name: 'trade' | 'order', data: object) => void,
): void {
  for (const trade of trades) {
    const users = new Set([trade.buyerUserId, trade.sellerUserId].filter(isFollowed))
    if (users.size === 0) continue
    const stored = { trade, status: 'PENDING', settledAtMs: null, retryCount: 0, failureReason: null } as const
    const view = viewTrade(stored, instruments)
    for (const userId of users) tell(userId, 'trade', view)
  }
  for (const orders of [placed, changed]) {
    for (const order of orders) if (isFollowed(order.userId)) tell(order.userId, 'order', viewOrder(order, instruments))
  }
}
