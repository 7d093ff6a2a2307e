/** The trades of the benchmarks, and how they are handed in and waited for. */
import { tmpdir } from 'node:os'
import { loadConfig } from '../src/config.ts'
import { feeOf } from '../src/core/fees.ts'
import { acceptTrade, type Trade, withFees } from '../src/core/trade.ts'
import { createCast, tradeId } from '../src/replay/cast.ts'
import type { Outstanding } from '../src/replay/outstanding.ts'
import type { Wallet } from '../src/wallet/wallet.ts'
import type { TradeIntake } from '../src/worker/intake.ts'

export const SEED = 1
/** Trades a call hands in. */
const CALL = 250

export interface Workload {
  readonly trades: number
  readonly users: number
}

/** Prices around 60,000 and quantities below one, between random pairs of users; the same for the same options. */
export function makeTrades({ trades, users }: Workload): readonly Trade[] {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const [market] = config.markets
  if (market === undefined) throw new Error('the default configuration has no market')
  const cast = createCast({ seed: SEED, users, market: market.symbol })
  return Array.from({ length: trades }, (_, line) => {
    const input = {
      id: tradeId(SEED, market.symbol, 'bench', line),
      symbol: market.symbol,
      ...cast.sidesOf(line),
      price: `${60_000 + (line % 997)}.${String(line % 100).padStart(2, '0')}`,
      quantity: `0.${String(1 + ((line * 7919) % 99_999)).padStart(5, '0')}`,
      buyerFee: '0',
      sellerFee: '0',
      isBuyerMaker: line % 2 === 0,
      buyerOrderId: null,
      sellerOrderId: null,
      executedAtMs: 1_700_000_000_000 + line,
    }
    const accepted = acceptTrade(input, market, config.settlement.feeUserId)
    if ('faults' in accepted) throw new Error(JSON.stringify(accepted.faults))
    const { notional } = accepted.trade
    const charged = withFees(accepted.trade, market, feeOf(notional, market.takerFee), feeOf(notional, market.makerFee))
    if ('faults' in charged) throw new Error(JSON.stringify(charged.faults))
    return charged.trade
  })
}

/** Gives every user more than all trades can ask for. */
export async function fundUsers(wallet: Wallet, users: number): Promise<void> {
  const { userIds } = createCast({ seed: SEED, users, market: 'BTC/USDT' })
  const deposits = userIds.flatMap(userId =>
    ['BTC', 'USDT'].map(currency => {
      const amount = 10n ** 20n
      const key = `${userId} ${currency}`
      return wallet.apply({ key, tradeId: null, type: 'credit', userId, currency, amount, reason: 'DEPOSIT' })
    }),
  )
  await Promise.all(deposits)
}

export interface Figures {
  readonly per_second: number
  readonly p50_ms: number
  readonly p99_ms: number
}

/** Hands all trades in as fast as they are taken; throws where one of them does not settle. */
export async function settleAll(
  trades: readonly Trade[],
  intake: TradeIntake,
  outstanding: Outstanding,
): Promise<Figures> {
  const calls = Array.from({ length: Math.ceil(trades.length / CALL) }, (_, at) =>
    trades.slice(at * CALL, (at + 1) * CALL),
  )
  const started = performance.now()
  const lane = async (): Promise<void> => {
    for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
      for (const { id } of call) outstanding.expect(id)
      await intake.take(call.map(trade => ({ trade, isTimeGiven: true })))
    }
  }
  await Promise.all([lane(), lane()])
  await outstanding.below(1)
  const seconds = (performance.now() - started) / 1000
  const { settled, latencyMs } = outstanding.tally()
  if (settled !== trades.length) throw new Error(`${settled} of ${trades.length} settled`)
  return { per_second: Math.round(settled / seconds), p50_ms: latencyMs.p50, p99_ms: latencyMs.p99 }
}
