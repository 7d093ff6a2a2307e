/** The library's door: what a program of its own needs to settle on Legwork. */
export { type Clock, systemClock } from './clock.ts'
export { type Config, ConfigError, loadConfig, loadProcessConfig } from './config.ts'
export type { Market } from './core/market.ts'
export { acceptTrade, type Trade, type TradeFault, type TradeInput } from './core/trade.ts'
export { createLogger, type Logger } from './log.ts'
export {
  createSettlement,
  type OpenDatabase,
  openConfiguredDatabase,
  type SettlementOptions,
  type SettlementService,
} from './main.ts'
export { type VerifyReport, verifyBooks } from './verify/verify.ts'
export type { BookedWallet, Outcome, Wallet } from './wallet/wallet.ts'
export { type SubmitFault, type Submitted, TradesRefusedError } from './worker/submit.ts'
