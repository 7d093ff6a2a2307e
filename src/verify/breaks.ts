import type { Connection } from '../db.ts'

/** What is wrong; what each means and what to do about it stands in render.ts. */
export type BreakKind =
  // of a currency
  | 'conservation'
  | 'clearing'
  | 'totals'
  // of an account and its entries
  | 'account-balance'
  | 'account-count'
  | 'account-overdrawn'
  | 'account-held'
  | 'entry-gap'
  | 'entry-balance'
  // of a key
  | 'operation-entries'
  | 'entry-without-operation'
  | 'settlement-unbalanced'
  | 'hold-operation'
  // of a trade
  | 'market-unknown'
  | 'notional'
  | 'leg-missing'
  | 'leg-repeated'
  | 'leg-amount'
  | 'leg-undone'
  | 'leg-unexpected'
  | 'trade-unknown'
  // of an order
  | 'order-trade'
  | 'order-fills'
  | 'order-status'
  | 'order-hold'
  | 'book-crossed'
  // of a trade's status
  | 'status-phase'
  | 'settled-at'
  | 'letter-missing'
  | 'letter-stale'
  | 'work-after-end'
  | 'work-lost'

/** A difference found; whatever it is not about is left out. */
export interface Break {
  readonly kind: BreakKind
  readonly tradeId?: string
  /** The user whose account it is. */
  readonly account?: string
  readonly currency?: string
  /** Of the wallet operation. */
  readonly key?: string
  /** One sentence, with what was expected and what was found. */
  readonly detail: string
}

/** How many there are in all, and the first of them in a fixed order. */
export interface Found {
  readonly count: number
  readonly examples: readonly Break[]
}

/** The most breaks that are shown. */
export const MAX_EXAMPLES = 100

interface BreakRow {
  readonly kind: BreakKind
  readonly trade_id: string | null
  readonly account: string | null
  readonly currency: string | null
  readonly key: string | null
  readonly detail: string
  readonly breaks: bigint
}

/**
 * Runs a check: a query of (kind, trade_id, account, currency, key, detail) with one row a break. However many it finds,
 * only the first come over the wire.
 */
export async function findBreaks(connection: Connection, check: string): Promise<Found> {
  const { rows } = await connection.query<BreakRow>(`
    select kind, trade_id, account, currency, key, detail, count(*) over () as breaks
    from (${check}) as found (kind, trade_id, account, currency, key, detail)
    order by kind collate "C", trade_id, account, currency collate "C", key collate "C", detail collate "C"
    limit ${MAX_EXAMPLES}`)
  return { count: Number(rows[0]?.breaks ?? 0), examples: rows.map(breakOf) }
}

function breakOf({ kind, trade_id, account, currency, key, detail }: BreakRow): Break {
  return {
    kind,
    ...(trade_id === null ? {} : { tradeId: trade_id }),
    ...(account === null ? {} : { account }),
    ...(currency === null ? {} : { currency }),
    ...(key === null ? {} : { key }),
    detail,
  }
}
