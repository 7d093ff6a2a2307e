/** What the stream of a market tells of a batch: its trades, then the levels of its book as they are now. */
import type { MarketChanges } from '../../../orders/market-desk.ts'
import { viewLevel, viewMarketTrade } from '../order-view.ts'
import { eventText } from './event-text.ts'
import type { Entry } from './feed.ts'

/** Each is numbered by the market's event that it is told after. */
export function marketEntries({ market, book, trades, events, levels }: MarketChanges): readonly Entry[] {
  const { symbol, sequence } = book
  const fills = events.filter(event => event.type === 'fill')
  const entries = trades.map((trade, index): Entry => {
    const number = fills[index]?.sequence ?? sequence
    const data = { ...viewMarketTrade(trade, market), sequence: number }
    return { seenFrom: number, text: eventText('trade', number, data) }
  })
  const view = viewLevel(market)
  const sideOf = (side: 'buy' | 'sell') =>
    levels.filter(level => level.side === side).map(({ price, quantity, orders }) => view([price, quantity, orders]))
  // Where a trade was the last event, its number does not say whether the book after it was seen.
  const endsWithTrade = events.at(-1)?.type === 'fill'
  entries.push({
    seenFrom: endsWithTrade ? sequence + 1 : sequence,
    text: eventText('book', sequence, { symbol, sequence, bids: sideOf('buy'), asks: sideOf('sell') }),
  })
  return entries
}
