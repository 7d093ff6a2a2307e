import type { RetryPolicy } from '../core/backoff.ts'
import type { LegOrder } from '../core/legs.ts'
import type { Asset, Market } from '../core/market.ts'

/** How legs reach the wallet; `auto` takes the best the wallet says it can do. */
export type RailChoice = 'auto' | 'atomic' | 'saga'

/**
 * Everything that can be configured, checked and complete. Ranges and defaults of each setting are in the table of
 * `settings.ts`; times are milliseconds.
 */
export interface Config {
  /** Absolute path of the folder that holds the embedded database and the first admin key. */
  readonly dataDir: string
  readonly server: ServerConfig
  readonly database: DatabaseConfig
  readonly wallet: WalletConfig
  /** In the order they are configured; codes are unique. */
  readonly assets: readonly Asset[]
  /** In the order they are configured; symbols are unique, and `marketFault` finds nothing in any. */
  readonly markets: readonly Market[]
  readonly settlement: SettlementConfig
  /** `LEGWORK_ADMIN_TOKEN`: the first admin key, a secret; null when the variable is absent. */
  readonly adminToken: string | null
}

export interface ServerConfig {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export interface DatabaseConfig {
  /** A secret, since it may hold a password; null: the embedded PostgreSQL in the data folder. */
  readonly url: string | null
}

export interface WalletConfig {
  /** Null: the built-in ledger. */
  readonly url: string | null
  /** A secret. */
  readonly token: string | null
  readonly idempotent: boolean
}

export interface SettlementConfig extends RetryPolicy {
  readonly workerPoolSize: number
  readonly queueCapacity: number
  readonly timeoutMs: number
  /** Always above `timeoutMs`. */
  readonly leaseMs: number
  readonly pollMs: number
  readonly legOrder: LegOrder
  readonly rail: RailChoice
  readonly deadLetterQueueEnabled: boolean
  /** A UUID, lower-cased. */
  readonly feeUserId: string
}
