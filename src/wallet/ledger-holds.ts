/** The holds' rows: read and written. What an account holds is written with its balance (ledger-changes.ts). */
import type { Instruments } from '../core/instruments.ts'
import { formatDecimal, parseStored } from '../core/money.ts'
import { arrayOf, type Connection, type Database, plainArrayOf } from '../db.ts'
import type { Statement } from '../statements.ts'
import { type HoldChange, type HoldRow, scaleOf } from './ledger-rows.ts'

/** Those of the holds that exist, in sorted order. */
export async function readHolds(
  source: Connection | Database,
  instruments: Instruments,
  keys: readonly string[],
  lock: 'for update' | '',
): Promise<readonly HoldRow[]> {
  const { rows } = await source.query<{
    readonly key: string
    readonly user_id: string
    readonly currency: string
    readonly amount: string
    readonly remaining: string
    readonly reversed: boolean
  }>({
    name: `read-holds ${lock}`,
    text: `
      select key, user_id, currency, amount, remaining, reversed
      from ledger_holds
      where key = any($1::text[])
      order by key
      ${lock}`,
    values: [arrayOf(keys)],
  })
  return rows.map(row => {
    const scale = scaleOf(instruments, row.currency)
    return {
      key: row.key,
      userId: row.user_id,
      currency: row.currency,
      amount: parseStored(row.amount, scale),
      remaining: parseStored(row.remaining, scale),
      isReversed: row.reversed,
    }
  })
}

/** Fails where one of them was placed meanwhile. */
export function expectNoHolds(keys: readonly string[]): readonly Statement[] {
  if (keys.length === 0) return []
  return [
    {
      name: 'expect-no-holds',
      text: `
        select expect_count(count(*), 0, 'holds that were not there')
        from ledger_holds
        where key = any($1::text[])`,
      values: [arrayOf(keys)],
    },
  ]
}

/** Also those that were only looked at: that there was so much left, or so little, has to be true as well. */
export function saveHolds(instruments: Instruments, holds: readonly HoldChange[]): readonly Statement[] {
  return [
    ...updateHolds(
      instruments,
      holds.filter(({ before }) => before !== null),
    ),
    ...insertHolds(
      instruments,
      holds.filter(({ before }) => before === null).map(({ after }) => after),
    ),
  ]
}

function updateHolds(instruments: Instruments, holds: readonly HoldChange[]): readonly Statement[] {
  if (holds.length === 0) return []
  const decimal = ({ remaining, currency }: HoldRow): string => formatDecimal(remaining, scaleOf(instruments, currency))
  return [
    {
      name: 'update-holds',
      text: `
        with changed as (
          update ledger_holds h
          set remaining = d.remaining, reversed = d.reversed
          from unnest($1::text[], $2::numeric[], $3::boolean[], $4::numeric[])
            as d (key, remaining, reversed, remaining_before)
          where h.key = d.key
            and h.remaining = d.remaining_before
            and not h.reversed
          returning 1
        )
        select expect_count(count(*), $5, 'holds that have not changed') from changed`,
      values: [
        arrayOf(holds.map(({ after }) => after.key)),
        plainArrayOf(holds.map(({ after }) => decimal(after))),
        plainArrayOf(holds.map(({ after }) => after.isReversed)),
        plainArrayOf(holds.map(({ before, after }) => decimal(before ?? after))),
        holds.length,
      ],
    },
  ]
}

function insertHolds(instruments: Instruments, holds: readonly HoldRow[]): readonly Statement[] {
  if (holds.length === 0) return []
  const decimal = (units: bigint, currency: string): string => formatDecimal(units, scaleOf(instruments, currency))
  return [
    {
      name: 'insert-holds',
      text: `
        insert into ledger_holds (key, user_id, currency, amount, remaining, reversed)
        select * from unnest($1::text[], $2::uuid[], $3::text[], $4::numeric[], $5::numeric[], $6::boolean[])`,
      values: [
        arrayOf(holds.map(({ key }) => key)),
        plainArrayOf(holds.map(({ userId }) => userId)),
        arrayOf(holds.map(({ currency }) => currency)),
        plainArrayOf(holds.map(({ amount, currency }) => decimal(amount, currency))),
        plainArrayOf(holds.map(({ remaining, currency }) => decimal(remaining, currency))),
        plainArrayOf(holds.map(({ isReversed }) => isReversed)),
      ],
    },
  ]
}
