import type { App } from '../../app.ts'
import { onlyOf } from '../../auth.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { refuse } from '../../problem.ts'
import { EVENT_STREAM, StreamHeaders, StreamQuery } from '../contract.ts'
import { viewOrder } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { othersOrder } from '../reading.ts'
import type { EventStreams } from '../streams/event-streams.ts'
import { eventText } from '../streams/event-text.ts'
import type { Feeds } from '../streams/feeds.ts'

/** `GET /v1/orders/stream`: a user's open orders, then what becomes of its orders, and its trades. */
export function ordersStreamRoute(
  app: App,
  { orders, instruments }: OrderServices,
  { streams, feeds }: { readonly streams: EventStreams; readonly feeds: () => Feeds },
): void {
  const schema = {
    tags: ['orders'],
    summary: 'The orders and trades of a user, as they change',
    description:
      'First `snapshot`, the open orders; then `trade`, as it was made, and `order`, as it is now. With `Last-Event-ID` what was ' +
      'missed, where that is still known.',
    querystring: StreamQuery,
    headers: StreamHeaders,
    response: { 200: EVENT_STREAM, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'own' } as const
  app.get('/v1/orders/stream', { schema, config, exposeHeadRoute: false }, async (request, reply) => {
    const own = onlyOf(request.principal)
    const userId = request.query.user_id?.toLowerCase() ?? own
    if (userId === null) return refuse(reply, invalid('/user_id', 'is missing'))
    if (own !== null && userId !== own) return refuse(reply, othersOrder())
    return await streams.answer(request, reply, async () => {
      const { tag, feed } = feeds().user(userId)
      const seen = numberOf(request.headers['last-event-id'], tag)
      if (seen !== null && feed.after(seen) !== null) {
        return reader => {
          const missed = feed.after(seen)
          return missed === null ? null : { text: missed, stop: feed.follow(reader) }
        }
      }
      // Both in one turn: whatever is told after this number is newer than these orders.
      const { at, open } = await orders.look(books => ({ at: feed.lastId(), open: books.openOrdersOf(userId) }))
      return reader => {
        const missed = feed.after(at)
        if (missed === null) return null
        const view = { orders: open.map(order => viewOrder(order, instruments)) }
        return { text: eventText('snapshot', `${tag}-${at}`, view) + missed, stop: feed.follow(reader) }
      }
    })
  })
}

/** Whatever is no number of this feed says nothing. */
function numberOf(id: string | undefined, tag: string): number | null {
  const [given, number = '', ...rest] = id?.split('-') ?? []
  return given === tag && rest.length === 0 && /^[0-9]{1,15}$/.test(number) ? Number(number) : null
}
