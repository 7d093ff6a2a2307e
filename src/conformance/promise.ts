import type { Trial } from './trial.ts'

/** The levels of the protocol; each includes those before it. */
export const LEVELS = ['basic', 'reversals', 'batch', 'settlements'] as const
export type Level = (typeof LEVELS)[number]

/** Holds belong to no level: a wallet of any offers them or does not. */
export type Part = Level | 'holds'

/** Where the protocol says it (wallet-protocol.md). */
type Section = 'Common to all calls' | 'Level 0' | 'Level 1' | 'Level 2' | 'Level 3' | 'Holds' | 'Reading back'

/** One thing that the protocol promises, and how to find out whether a wallet keeps it. */
export interface WalletPromise {
  /** A sentence that is true of a wallet that keeps it. */
  readonly name: string
  readonly part: Part
  readonly section: Section
  /** Tried only where the wallet offers this, too. */
  readonly needs?: Level
  /** Throws `BrokenPromiseError` where the wallet does not keep it. */
  readonly run: (trial: Trial) => Promise<void>
}
