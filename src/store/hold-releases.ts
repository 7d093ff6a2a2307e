/** All SQL about what is to be given back of holds: stored with what made it free, gone once the wallet has done it. */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal, parseStored } from '../core/money.ts'
import { type Connection, type Database, plainArrayOf } from '../db.ts'
import type { Statement } from '../statements.ts'
import type { HoldRelease } from './order-store.ts'

interface ReleaseRow {
  readonly key: string
  readonly hold: string
  readonly currency: string
  readonly amount: string | null
}

/** All that remains is released last: a part that came after it would find less than it is. */
const TO_DO = `
  select r.key, r.hold, r.currency, r.amount
  from hold_releases r
  where r.refused is null
    and (
      r.amount is not null
      or not exists (select from hold_releases o where o.hold = r.hold and o.amount is not null and o.refused is null)
    )`

/** What is to be done now; the rest of a hold that is waited for is an operator's, and found later. */
export async function selectReleases(
  connection: Connection,
  instruments: Instruments,
): Promise<readonly HoldRelease[]> {
  const { rows } = await connection.query<ReleaseRow>(`${TO_DO} order by r.created_at`)
  return rows.map(row => releaseOf(row, instruments))
}

/** Those that no batch of the desk has made. */
export async function selectOperatorsReleases(
  database: Database,
  instruments: Instruments,
): Promise<readonly HoldRelease[]> {
  const { rows } = await database.query<ReleaseRow>({
    name: 'releases-of-operators',
    text: `${TO_DO} and r.by_operator`,
  })
  return rows.map(row => releaseOf(row, instruments))
}

export function insertReleases(
  instruments: Instruments,
  releases: readonly HoldRelease[],
  { atMs, isByOperator }: { readonly atMs: number; readonly isByOperator: boolean },
): readonly Statement[] {
  if (releases.length === 0) return []
  return [
    {
      name: 'insert-releases',
      text: `
        insert into hold_releases (key, hold, currency, amount, created_at, by_operator)
        select d.*, $1::timestamptz, $2
        from unnest($3::uuid[], $4::uuid[], $5::text[], $6::numeric[]) as d`,
      values: [
        new Date(atMs),
        isByOperator,
        plainArrayOf(releases.map(release => release.key)),
        plainArrayOf(releases.map(release => release.hold)),
        plainArrayOf(releases.map(release => release.currency)),
        plainArrayOf(
          releases.map(({ amount, currency }) =>
            amount === null ? null : formatDecimal(amount, scaleOf(currency, instruments)),
          ),
        ),
      ],
    },
  ]
}

/** Of trades that draw no more: whoever comes second to an order sees what the first has made of its other trades. */
const LOCK_ENDED_ORDERS = `
  select o.id
  from orders o
  where o.id in (
      select unnest(array[t.buyer_order_id, t.seller_order_id])
      from trades t
      where t.id = any($1::uuid[])
    )
    and not o.is_open
  order by o.id
  for update`

/** An order that is over gets no trade any more, so that what no trade names is named by none to come. */
const RELEASE_RESTS = `
  with named as (
    select h.hold
    from open_settlements s
    join trades t on t.id = s.trade_id
    left join dead_letters l on l.trade_id = s.trade_id
    cross join lateral (values (t.buyer_hold), (t.seller_hold)) as h (hold)
    where t.settlement_status <> 'SETTLED'
      and l.status is distinct from 'resolved'
      and h.hold is not null
  )
  insert into hold_releases (key, hold, currency, amount, created_at, by_operator)
  select gen_random_uuid(), o.hold, case o.side when 'buy' then m.quote else m.base end, null, $2, true
  from orders o
  join markets m on m.symbol = o.symbol
  where o.id = any($1::uuid[])
    and o.hold is not null
    and o.hold not in (select hold from named)
    and not exists (select from hold_releases r where r.hold = o.hold and r.amount is null and r.refused is null)`

/**
 * All that remains of the holds of the trades' orders, as far as an order is over and none of its trades will draw on its
 * hold: what a debit in doubt was to draw, and never did, belongs to nobody.
 */
export async function releaseRests(connection: Connection, tradeIds: readonly string[], atMs: number): Promise<void> {
  if (tradeIds.length === 0) return
  const { rows } = await connection.query<{ readonly id: string }>({
    name: 'lock-ended-orders',
    text: LOCK_ENDED_ORDERS,
    values: [plainArrayOf(tradeIds)],
  })
  if (rows.length === 0) return
  await connection.query({
    name: 'release-rests',
    text: RELEASE_RESTS,
    values: [plainArrayOf(rows.map(row => row.id)), new Date(atMs)],
  })
}

export async function removeReleases(database: Database, keys: readonly string[]): Promise<void> {
  await database.query({
    name: 'remove-releases',
    text: 'delete from hold_releases where key = any($1::uuid[])',
    values: [plainArrayOf(keys)],
  })
}

export async function refuseRelease(database: Database, key: string, why: string): Promise<void> {
  await database.query('update hold_releases set refused = $2 where key = $1', [key, why])
}

function releaseOf({ key, hold, currency, amount }: ReleaseRow, instruments: Instruments): HoldRelease {
  return { key, hold, currency, amount: amount === null ? null : parseStored(amount, scaleOf(currency, instruments)) }
}

function scaleOf(currency: string, { assets }: Instruments): number {
  const asset = assets.get(currency)
  if (asset === undefined) throw new Error(`asset ${currency} is neither configured nor stored`)
  return asset.scale
}
