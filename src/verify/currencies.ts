import type { Connection } from '../db.ts'
import type { Break, BreakKind } from './breaks.ts'
import { EXPECTED_LEGS, MOVED_LEGS } from './legs.ts'

/** The sums of a currency as its entries give them: canonical decimal texts. */
export interface CurrencyTotals {
  readonly currency: string
  readonly deposits: string
  readonly withdrawals: string
  /** Of all accounts, the fee account too. */
  readonly balances: string
  /** Of the accounts that trades name to collect their fees. */
  readonly fees: string
  /** The other side of what is half done. */
  readonly clearing: string
}

interface CurrencyRow extends CurrencyTotals {
  /** What the accounts say they have. */
  readonly on_accounts: string
  /** Accounts + clearing − (deposits − withdrawals): zero, or money was made or lost. */
  readonly surplus: string
  /** The clearing that settlements in hand, parked rollbacks and owed fees account for. */
  readonly accounted: string
  readonly stored_balances: string
  readonly stored_clearing: string
  readonly stored_deposits: string
  readonly stored_withdrawals: string
}

const CURRENCIES = `
  with ${EXPECTED_LEGS},
  ${MOVED_LEGS},
  accounted as (
    select e.currency,
      -sum(
        case e.must
          when 'there' then e.change
          when 'either' then case when m.entries = 1 and m.net = e.change then e.change else 0 end
          else 0
        end
      ) as clearing
    from expected e
    left join moved m
      on m.trade_id = e.trade_id
      and m.key = e.key
      and m.leg = e.leg
      and m.account = e.account
      and m.currency = e.currency
    where e.is_half_done
    group by e.currency
  ),
  -- What has its other side outside; what reverses it leaves by the door it came in.
  outside as (
    select key, min(reason) as reason
    from ledger_entries
    where reason in ('DEPOSIT', 'WITHDRAWAL')
    group by key
  ),
  fee_users as (
    select distinct fee_user_id as user_id
    from trades
  ),
  posted as (
    select e.currency, sum(e.amount) as balances,
      sum(e.amount) filter (where o.reason = 'DEPOSIT') as deposits,
      -sum(e.amount) filter (where o.reason = 'WITHDRAWAL') as withdrawals,
      -sum(e.amount) filter (where o.reason is null) as clearing,
      sum(e.amount) filter (where f.user_id is not null) as fees
    from ledger_entries e
    left join outside o on o.key = e.key
    left join fee_users f on f.user_id = e.user_id
    group by e.currency
  ),
  on_accounts as (
    select currency, sum(balance) as balances
    from ledger_accounts
    group by currency
  ),
  currencies as (
    select code as currency from assets
    union
    select currency from posted
    union
    select currency from on_accounts
    union
    select currency from ledger_totals
  ),
  sums as (
    select c.currency,
      coalesce(p.balances, 0) as balances, coalesce(p.clearing, 0) as clearing,
      coalesce(p.deposits, 0) as deposits, coalesce(p.withdrawals, 0) as withdrawals, coalesce(p.fees, 0) as fees,
      coalesce(h.balances, 0) as on_accounts, coalesce(a.clearing, 0) as accounted,
      coalesce(t.balances, 0) as stored_balances, coalesce(t.clearing, 0) as stored_clearing,
      coalesce(t.deposits, 0) as stored_deposits, coalesce(t.withdrawals, 0) as stored_withdrawals
    from currencies c
    left join posted p using (currency)
    left join on_accounts h using (currency)
    left join accounted a using (currency)
    left join ledger_totals t using (currency)
  )
  select currency, trim_scale(balances)::text as balances, trim_scale(clearing)::text as clearing,
    trim_scale(deposits)::text as deposits, trim_scale(withdrawals)::text as withdrawals,
    trim_scale(fees)::text as fees, trim_scale(on_accounts)::text as on_accounts,
    trim_scale(accounted)::text as accounted,
    trim_scale(on_accounts + clearing - deposits + withdrawals)::text as surplus,
    trim_scale(stored_balances)::text as stored_balances, trim_scale(stored_clearing)::text as stored_clearing,
    trim_scale(stored_deposits)::text as stored_deposits, trim_scale(stored_withdrawals)::text as stored_withdrawals
  from sums
  order by currency collate "C"`

/** The sums of every currency there is, and what is wrong with them; none: money is conserved. */
export async function readCurrencies(
  connection: Connection,
): Promise<{ readonly totals: readonly CurrencyTotals[]; readonly breaks: readonly Break[] }> {
  const { rows } = await connection.query<CurrencyRow>(CURRENCIES)
  const totals = rows.map(({ currency, deposits, withdrawals, balances, fees, clearing }) => ({
    currency,
    deposits,
    withdrawals,
    balances,
    fees,
    clearing,
  }))
  return { totals, breaks: rows.flatMap(currencyBreaks) }
}

function currencyBreaks(row: CurrencyRow): readonly Break[] {
  const { currency, deposits, withdrawals, balances, clearing, on_accounts: onAccounts, surplus, accounted } = row
  const breaks: Break[] = []
  const found = (kind: BreakKind, detail: string): void => {
    breaks.push({ kind, currency, detail })
  }
  if (surplus !== '0') {
    found(
      'conservation',
      `accounts + clearing should be deposits − withdrawals = ${deposits} − ${withdrawals} ${currency}, ` +
        `but are ${onAccounts} + ${clearing}, which is off by ${surplus}`,
    )
  }
  if (clearing !== accounted) {
    found(
      'clearing',
      `the clearing account should hold the ${accounted} ${currency} that half-done settlements account for, ` +
        `but the entries leave ${clearing} in it`,
    )
  }
  const stored = [
    ['balances', balances, row.stored_balances],
    ['clearing', clearing, row.stored_clearing],
    ['deposits', deposits, row.stored_deposits],
    ['withdrawals', withdrawals, row.stored_withdrawals],
  ] as const
  for (const [name, recomputed, noted] of stored) {
    if (recomputed === noted) continue
    found('totals', `the ${name} noted should be ${recomputed} ${currency} as the entries sum to, but are ${noted}`)
  }
  return breaks
}
