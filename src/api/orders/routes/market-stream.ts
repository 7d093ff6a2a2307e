import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { refuse } from '../../problem.ts'
import { EVENT_STREAM, MAX_DEPTH, MarketParams, StreamHeaders } from '../contract.ts'
import { viewBook } from '../order-view.ts'
import type { OrderServices } from '../plugin.ts'
import { marketIn, noMarket } from '../reading.ts'
import type { EventStreams } from '../streams/event-streams.ts'
import { eventText } from '../streams/event-text.ts'
import type { Feeds } from '../streams/feeds.ts'

/** `GET /v1/markets/{BASE-QUOTE}/stream`: the book, then what changes of it; event ids are the market's sequence. */
export function marketStreamRoute(
  app: App,
  { orders, instruments }: OrderServices,
  { streams, feeds }: { readonly streams: EventStreams; readonly feeds: () => Feeds },
): void {
  const schema = {
    tags: ['markets'],
    summary: 'The book and trades of a market, as they change',
    description:
      `First \`snapshot\`, the book to a depth of ${MAX_DEPTH}; then \`trade\`, and \`book\` with the levels that changed: their new ` +
      'quantity and number of orders, "0" of one that is gone. With `Last-Event-ID` what was missed, where that is still known.',
    params: MarketParams,
    headers: StreamHeaders,
    response: { 200: EVENT_STREAM, ...PROBLEM_ANSWERS },
  }
  const config = { role: 'viewer', traders: 'all' } as const
  app.get('/v1/markets/:market/stream', { schema, config, exposeHeadRoute: false }, async (request, reply) => {
    const market = marketIn(request.params, instruments)
    if (market === null) return refuse(reply, noMarket())
    const { symbol } = market
    return await streams.answer(request, reply, async () => {
      const feed = feeds().market(symbol)
      const seen = numberOf(request.headers['last-event-id'])
      if (seen !== null && feed.after(seen) !== null) {
        return reader => {
          const missed = feed.after(seen)
          return missed === null ? null : { text: missed, stop: feed.follow(reader) }
        }
      }
      const depth = await orders.depth(symbol, MAX_DEPTH)
      return reader => {
        if (depth === null) return null
        feed.beginAt(depth.sequence)
        const missed = feed.after(depth.sequence)
        if (missed === null) return null
        const snapshot = eventText('snapshot', depth.sequence, viewBook(depth, market))
        return { text: snapshot + missed, stop: feed.follow(reader) }
      }
    })
  })
}

/** Whatever is no number of ours says nothing. */
function numberOf(id: string | undefined): number | null {
  return id !== undefined && /^[0-9]{1,15}$/.test(id) ? Number(id) : null
}
