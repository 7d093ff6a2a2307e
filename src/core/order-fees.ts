import { rateUnits, roundFee, WHOLE } from './fees.ts'
import type { Market } from './market.ts'

/** The fees of one order so far, as maker and as taker, summed exactly: many small fills cost what one would. */
export interface FeeAccount {
  /** notional × rate over all fills, in units of 10^-18 of the quote asset's smallest unit. */
  readonly exact: bigint
  /** The sum of what its fills were charged: `exact` rounded as one fee is. */
  readonly charged: bigint
}

/** Of an order without a fill. */
export const NO_FEES: FeeAccount = { exact: 0n, charged: 0n }

/** The fee of the next fill (below zero for a rebate), and the account after it. */
export function chargeFee(
  account: FeeAccount,
  notional: bigint,
  rate: string,
): { readonly fee: bigint; readonly account: FeeAccount } {
  const exact = account.exact + notional * rateUnits(rate)
  const charged = roundFee(exact)
  return { fee: charged - account.charged, account: { exact, charged } }
}

/** The most that the rest of an order may still be charged, whichever of its fills make and which take. */
export function highestFee(account: FeeAccount, restNotional: bigint, market: Market): bigint {
  const rates = [rateUnits(market.makerFee), rateUnits(market.takerFee)]
  const highest = rates.reduce((most, rate) => (rate > most ? rate : most), 0n)
  return roundFee(account.exact + restNotional * highest) - account.charged
}

/** The highest notional whose fee at a rate, all in one account, is paid by what is left with it. */
export function notionalPaidBy(left: bigint, rate: bigint): bigint {
  return left <= 0n ? 0n : left / (WHOLE + rate)
}
