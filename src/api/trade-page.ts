/** Lists of trades in pages, newest first. */
import { parseUuid } from '../core/ids.ts'
import type { StoredTrade, TradeQuery } from '../store/store.ts'
import { pageOf, partsOf } from './page.ts'

/** Trades read with one more than the page holds. */
export function pageOfTrades(found: readonly StoredTrade[], limit: number) {
  return pageOf(found, limit, ({ recordedAtMs, trade }) => [recordedAtMs, trade.id])
}

/** Undefined: no cursor of ours. */
export function tradePosition(cursor: string): TradeQuery['before'] | undefined {
  const [time = '', id = '', ...rest] = partsOf(cursor)
  const uuid = parseUuid(id)
  return uuid === null || rest.length > 0 || !/^[0-9]{1,15}$/.test(time)
    ? undefined
    : { recordedAtMs: Number(time), id: uuid }
}
