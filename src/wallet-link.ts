/**
 * The wallet that is settled on: the built-in ledger in the same database, or a service elsewhere, which may not be there
 * yet. What follows from what it can do (the traits, the rail) is known from `connect` on; who asks before is told so.
 */
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Rail } from './core/settlement.ts'
import type { Database } from './db.ts'
import type { Logger } from './log.ts'
import type { InstrumentStore } from './store/instruments.ts'
import { createHttpWallet, type HttpWallet, WalletUnavailableError } from './wallet/http/http-wallet.ts'
import { createLedgerWallet } from './wallet/ledger-wallet.ts'
import type { BookedWallet, Wallet, WalletLevel } from './wallet/wallet.ts'
import { railFor, type WalletTraits } from './worker/plan.ts'

export interface WalletLink {
  readonly wallet: Wallet
  /** Of the built-in ledger, for whoever offers it to others; null: the wallet is a service elsewhere. */
  readonly books: BookedWallet | null
  /** Its level throws `WalletNotReadyError` until it is known. */
  readonly traits: WalletTraits
  /** Throws the same. */
  rail(): Rail
  /** Whether orders are secured by holds at the wallet; throws the same. */
  hasHolds(): boolean
  /** What is lacking to take work, in words. */
  lacking(): readonly string[]
  status(): LinkStatus
  /** Tells, from now on, when the wallet goes away and when it is back: work would only wait for it. */
  onAway(listener: (isAway: boolean) => void): void
  /**
   * Asks the wallet what it can do, every second until it says so; null: `signal` came first. Throws where it can't do
   * what the configuration asks for.
   */
  connect(signal?: AbortSignal): Promise<Rail | null>
  close(): void
}

/** As operators see it; `url` null: the built-in ledger. */
export interface LinkStatus {
  readonly url: string | null
  readonly level: WalletLevel
  readonly circuit: 'closed' | 'open' | 'half_open'
}

export interface WalletLinkOptions {
  readonly config: Config
  readonly database: Database
  readonly instruments: InstrumentStore
  readonly clock: Clock
  readonly log: Logger
}

/** Work came before it is known what the wallet can do. */
class WalletNotReadyError extends Error {
  constructor() {
    super('the wallet has not said yet what it can do')
  }
}

const ASK_AGAIN_MS = 1000

export function createWalletLink(options: WalletLinkOptions): WalletLink {
  const { config, clock, log } = options
  const { url, idempotent } = config.wallet
  let onAway = (_isAway: boolean): void => {}
  const remote = url === null ? null : createRemote(url, options, isAway => onAway(isAway))
  const books = remote === null ? createBooks(options) : null
  const wallet: Wallet = remote ?? (books as BookedWallet)
  let known: { readonly level: WalletLevel; readonly rail: Rail; readonly hasHolds: boolean } | null = null

  function knownNow(): NonNullable<typeof known> {
    if (known === null) throw new WalletNotReadyError()
    return known
  }

  async function ask(): Promise<Rail | null> {
    try {
      const { level, holds } = await wallet.capabilities()
      const rail = railFor(config.settlement.rail, { level, idempotent: traits.idempotent })
      if (rail === null) throw new Error(`the wallet is of level ${level}, which is not enough for the atomic rail`)
      // Without reversals a hold whose answer was lost could not be taken back.
      known = { level, rail, hasHolds: holds && level !== 'basic' && traits.idempotent }
      return rail
    } catch (error) {
      if (!(error instanceof WalletUnavailableError)) throw error
      log.warn({ wallet_url: url, code: error.code }, `waiting for the wallet: ${error.message}`)
      return null
    }
  }

  const traits: WalletTraits = {
    get level() {
      return knownNow().level
    },
    idempotent: remote === null || idempotent,
  }
  return {
    wallet,
    books,
    traits,
    rail: () => knownNow().rail,
    hasHolds: () => knownNow().hasHolds,
    lacking: () => (known === null ? ['the wallet has not said what it can do'] : []),
    status: () => ({ url, level: known?.level ?? 'basic', circuit: remote?.circuit() ?? 'closed' }),
    onAway(listener) {
      onAway = listener
    },
    async connect(signal) {
      for (;;) {
        if (signal?.aborted === true) return null
        const rail = await ask()
        if (rail !== null) return rail
        await pause(clock, signal)
      }
    },
    close: () => remote?.close(),
  }
}

function createRemote(
  url: string,
  { config, instruments, clock, log }: WalletLinkOptions,
  onAway: (isAway: boolean) => void,
): HttpWallet {
  const { token, idempotent } = config.wallet
  const { timeoutMs } = config.settlement
  return createHttpWallet({ url, token, idempotent, timeoutMs, instruments, clock, log, onAway })
}

function createBooks({ config, database, instruments, clock, log }: WalletLinkOptions): BookedWallet {
  return createLedgerWallet({ database, instruments, clock, feeUserId: config.settlement.feeUserId, log })
}

/** Until it is time to ask again, or the signal comes. */
function pause(clock: Clock, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const cancel = clock.after(ASK_AGAIN_MS, end)
    signal?.addEventListener('abort', end)
  })
}
