/** What the debits of a settlement have to do with the holds that they name, where it has stopped. */
import type { Step } from '../core/settlement.ts'
import type { DeadLetter, Requeued } from '../store/operator-store.ts'
import type { HoldRelease } from '../store/order-store.ts'
import { uuidV7 } from '../uuid.ts'
import { type PlannedSettlement, planOf, type WalletTraits } from './plan.ts'

/** A debit that names a hold. */
interface HeldDebit {
  readonly side: 'buyer' | 'seller'
  readonly hold: string
  readonly currency: string
  readonly amount: bigint
  /** False: it certainly never was, so that all of it is in the hold. */
  readonly mayBeApplied: boolean
}

/**
 * The sides whose debits name their hold no more, once it is retried. A debit that may have been applied has drawn on the
 * hold, and what is taken back is available: named again, the hold would give what the rest of the order needs.
 */
export function droppedHolds(letter: DeadLetter, traits: WalletTraits): Requeued['dropped'] {
  const debits = heldDebits(letter, traits)
  if (debits === null) return null
  const isDropped = (of: HeldDebit['side']): boolean =>
    debits.some(({ side, mayBeApplied }) => side === of && mayBeApplied)
  return { buyer: isDropped('buyer'), seller: isDropped('seller') }
}

/** What is free of the holds once nothing more is to happen: all that certainly never was debited. */
export function freedByResolving(
  letter: DeadLetter,
  traits: WalletTraits,
  atMs: number,
): readonly HoldRelease[] | null {
  const untouched = heldDebits(letter, traits)?.filter(({ mayBeApplied }) => !mayBeApplied)
  return untouched?.map(({ hold, currency, amount }) => ({ key: uuidV7(atMs), hold, currency, amount })) ?? null
}

/** Null: of a matching engine elsewhere, or its debits are done and only its fee is owed. */
function heldDebits({ stored, kind }: DeadLetter, traits: WalletTraits): readonly HeldDebit[] | null {
  const { trade, rail, legOrder, settlement } = stored
  if (trade.terms === null || kind === 'fee' || settlement === null) return null
  const { buyerHold, sellerHold } = trade.terms
  const planned = planOf(trade, rail, legOrder, traits)
  const named = [
    { side: 'buyer', hold: buyerHold },
    { side: 'seller', hold: sellerHold },
  ] as const
  return named.flatMap(({ side, hold }) => {
    const at = planned.legs.findIndex(({ name, type }) => name === `${side}-debit` && type === 'debit')
    const leg = planned.legs[at]
    if (leg === undefined || hold === null) return []
    const { currency, amount } = leg
    return [{ side, hold, currency, amount, mayBeApplied: mayHaveBeenApplied(stepOf(planned, settlement.steps, at)) }]
  })
}

/** On the atomic rail one step stands for all legs. */
function stepOf({ plan }: PlannedSettlement, steps: readonly Step[], leg: number): Step | undefined {
  return steps[plan.rail === 'atomic' ? 0 : leg]
}

/** Also where it was taken back since. */
function mayHaveBeenApplied(step: Step | undefined): boolean {
  return step === undefined || step.inDoubt || (step.state !== 'waiting' && step.state !== 'refused')
}
