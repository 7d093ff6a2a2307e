/** What is set aside for orders: at the wallet where it has holds, else on our side. */
import type { HoldRelease } from '../store/order-store.ts'
import type { MarketChanges } from './market-desk.ts'

/** What an order pays with. `amount` is above zero, in the smallest unit of `currency`. */
export interface Need {
  readonly userId: string
  readonly currency: string
  readonly amount: bigint
}

/** Why nothing was set aside. `UNAVAILABLE`: the wallet did not say; what it may have done is taken back. */
export type FundsRefusal =
  | {
      readonly code: 'INSUFFICIENT_BALANCE'
      readonly currency: string
      readonly available: bigint
      readonly required: bigint
    }
  | { readonly code: 'UNAVAILABLE'; readonly detail: string }

/** What was asked for ahead of the matching; one of `keep` and `giveUp` ends it. */
export interface Claim {
  /** That of the order, if it is accepted. */
  readonly id: string
  /** The key of the hold at the wallet: the order's id. Null: none is needed, or the wallet has none. */
  readonly hold: string | null
  /** What is set aside. */
  readonly amount: bigint
  /** The wallet said that the user has not so much; where funds are reserved on our side only `confirm` tells. */
  readonly isShort: boolean
  /**
   * In the step of the matching, when nothing else moves: so much is set aside, or it is said why not. Asked for what is
   * set aside already it answers at once.
   */
  confirm(amount: bigint): Promise<FundsRefusal | null> | FundsRefusal | null
  /** The order is accepted. */
  keep(): void
  /** The order came to nothing. */
  giveUp(): void
}

/** What has to be stored with a batch. */
export interface FundsChanges {
  readonly releases: readonly HoldRelease[]
}

export interface Funds {
  /** One for one, or none; an amount of zero needs nothing. Throws where the store does, and not for what the wallet does. */
  claim(needs: readonly Need[]): Promise<readonly Claim[]>
  /** What the commands of a batch have freed and spent; what of it must be stored with the batch. */
  take(changes: readonly MarketChanges[]): FundsChanges
  /** The batch is stored. */
  stored(changes: FundsChanges): void
  /** Calls that go on by themselves end. */
  close(): Promise<void>
}

/** All claims of one call, or none: where one fails, the others are given up. */
export async function claimAll(
  needs: readonly Need[],
  claim: (need: Need) => Promise<Claim>,
): Promise<readonly Claim[]> {
  const settled = await Promise.allSettled(needs.map(claim))
  const failed = settled.find(each => each.status === 'rejected')
  const claims = settled.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
  if (failed === undefined) return claims
  for (const made of claims) made.giveUp()
  throw failed.reason
}
