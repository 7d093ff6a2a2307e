import type { Instruments } from '../core/instruments.ts'
import type { Asset, Market } from '../core/market.ts'
import type { Rounding } from '../core/money.ts'
import { type Connection, type Database, transaction } from '../db.ts'

/** What open orders hold follows from the fees and the rounding they were placed under. */
export class OpenOrdersError extends Error {
  constructor(symbol: string) {
    super(
      `market ${symbol} has open orders, placed under other fees or another rounding: what they hold is made for those. ` +
        'Configure those that it had, and cancel the orders before they change',
    )
  }
}

/** Assets and markets of the configuration and the database together; `add` keeps new ones and puts them in force. */
export interface InstrumentStore extends Instruments {
  /** Only while nothing is in work: an asset's scale may grow, and amounts in hand are in units of the one before. */
  add(assets: readonly Asset[], markets: readonly Market[]): Promise<void>
  /**
   * Puts in force what other processes have added since, but for assets that have more places by now, and markets of them:
   * amounts in hand are in units of before. Of those `onGrown` is told, once each; rows with such amounts are not read.
   */
  refresh(): Promise<void>
}

/**
 * What is configured wins over what is stored, except that an asset's scale never shrinks below what amounts already
 * taken were read at; markets that only the database knows (a replay made them) stay in force. Throws `OpenOrdersError`.
 */
export async function openInstruments(
  database: Database,
  configured: { readonly assets: readonly Asset[]; readonly markets: readonly Market[] },
  onGrown: (asset: Asset, stored: Asset) => void = () => {},
): Promise<InstrumentStore> {
  const assets = new Map<string, Asset>()
  const markets = new Map<string, Market>()
  async function add(newAssets: readonly Asset[], newMarkets: readonly Market[]): Promise<void> {
    await transaction(database, async connection => {
      await upsertAssets(connection, newAssets)
      await upsertMarkets(connection, newMarkets)
    })
    await load(database, assets, markets)
  }
  await add(configured.assets, configured.markets)
  const grown = new Set<string>()
  async function refresh(): Promise<void> {
    const stored = { assets: new Map<string, Asset>(), markets: new Map<string, Market>() }
    await load(database, stored.assets, stored.markets)
    const isAsItWas = ({ code, scale }: Asset): boolean => (assets.get(code)?.scale ?? scale) === scale
    for (const asset of stored.assets.values()) {
      const known = assets.get(asset.code)
      if (known === undefined) assets.set(asset.code, asset)
      else if (!isAsItWas(asset) && !grown.has(asset.code)) {
        grown.add(asset.code)
        onGrown(known, asset)
      }
    }
    for (const market of stored.markets.values()) {
      if (isAsItWas(market.base) && isAsItWas(market.quote)) markets.set(market.symbol, market)
    }
  }
  return { assets, markets, add, refresh }
}

/** Reads rows as they stand; where one is of a market that another process has added since, once more with what the database knows by now. */
export async function readRows<Row, Read>(
  instruments: InstrumentStore,
  rows: readonly Row[],
  read: (row: Row, instruments: Instruments) => Read,
): Promise<readonly Read[]> {
  try {
    return rows.map(row => read(row, instruments))
  } catch {
    await instruments.refresh()
    return rows.map(row => read(row, instruments))
  }
}

/**
 * The same, without those that this process can't read: a claim that gave none because of one would hold all of them for
 * nothing. Those left out are another process's once their lease has run out.
 */
export async function readableRows<Row, Read>(
  instruments: InstrumentStore,
  rows: readonly Row[],
  read: (row: Row, instruments: Instruments) => Read,
): Promise<readonly Read[]> {
  try {
    return await readRows(instruments, rows, read)
  } catch {
    return rows.flatMap(row => {
      try {
        return [read(row, instruments)]
      } catch {
        return []
      }
    })
  }
}

async function upsertAssets(connection: Connection, assets: readonly Asset[]): Promise<void> {
  for (const { code, scale } of [...assets].sort((a, b) => (a.code < b.code ? -1 : 1))) {
    await connection.query(
      `
      insert into assets as a (code, scale)
      values ($1, $2)
      on conflict (code) do update
      set scale = greatest(a.scale, excluded.scale)`,
      [code, scale],
    )
  }
}

async function upsertMarkets(connection: Connection, markets: readonly Market[]): Promise<void> {
  for (const market of [...markets].sort((a, b) => (a.symbol < b.symbol ? -1 : 1))) {
    const { rowCount } = await connection.query(
      `
      select from markets m
      where symbol = $1
        and (maker_fee, taker_fee, rounding) is distinct from ($2::numeric, $3::numeric, $4::text)
        and exists (select from orders o where o.symbol = m.symbol and o.is_open)`,
      [market.symbol, market.makerFee, market.takerFee, market.rounding],
    )
    if (rowCount !== 0) throw new OpenOrdersError(market.symbol)
    await connection.query(
      `
      insert into markets (symbol, base, quote, tick_size, lot_size, min_notional, maker_fee, taker_fee, rounding)
      values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
      on conflict (symbol) do update
      set tick_size = excluded.tick_size, lot_size = excluded.lot_size, min_notional = excluded.min_notional,
        maker_fee = excluded.maker_fee, taker_fee = excluded.taker_fee, rounding = excluded.rounding`,
      [
        market.symbol,
        market.base.code,
        market.quote.code,
        market.tickSize,
        market.lotSize,
        market.minNotional,
        market.makerFee,
        market.takerFee,
        market.rounding,
      ],
    )
  }
}

interface MarketRow {
  readonly symbol: string
  readonly base: string
  readonly base_scale: number
  readonly quote: string
  readonly quote_scale: number
  readonly tick_size: string
  readonly lot_size: string
  readonly min_notional: string
  readonly maker_fee: string
  readonly taker_fee: string
  readonly rounding: Rounding | null
}

async function load(database: Database, assets: Map<string, Asset>, markets: Map<string, Market>): Promise<void> {
  const { rows: assetRows } = await database.query<Asset>('select code, scale from assets')
  for (const { code, scale } of assetRows) assets.set(code, { code, scale })
  const { rows } = await database.query<MarketRow>(`
    select m.symbol, m.base, b.scale as base_scale, m.quote, q.scale as quote_scale,
      trim_scale(m.tick_size)::text as tick_size, trim_scale(m.lot_size)::text as lot_size,
      trim_scale(m.min_notional)::text as min_notional, trim_scale(m.maker_fee)::text as maker_fee,
      trim_scale(m.taker_fee)::text as taker_fee, m.rounding
    from markets m
    join assets b on b.code = m.base
    join assets q on q.code = m.quote`)
  for (const row of rows) {
    markets.set(row.symbol, {
      symbol: row.symbol,
      base: { code: row.base, scale: row.base_scale },
      quote: { code: row.quote, scale: row.quote_scale },
      tickSize: row.tick_size,
      lotSize: row.lot_size,
      minNotional: row.min_notional,
      makerFee: row.maker_fee,
      takerFee: row.taker_fee,
      rounding: row.rounding,
    })
  }
}
