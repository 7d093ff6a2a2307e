/**
 * Who a key belongs to, without a query for each request. What was found is believed for five seconds from when it was
 * asked for, so that a key that another process revokes is refused within that time; halfway through, a key in use is asked
 * for again in the background, so that nobody waits. Keys that nobody has are remembered apart, so that they push no good
 * one out, and all that is asked for at the same time goes into one statement, one after the other: whoever tries keys
 * costs the database one connection at most, and is told to wait where too many are being looked up.
 */
import { createBatcher } from '../../batcher.ts'
import type { Clock } from '../../clock.ts'
import type { AccessStore } from '../../store/access-store.ts'
import type { Authenticate, Found, Principal } from '../auth.ts'
import { hashOfKey, isKeyText } from './key-text.ts'

export interface KeyHolders {
  /** At once where the key is remembered. */
  readonly authenticate: Authenticate
  /** The key of this hash was revoked: from now on it is refused here. */
  revoked(hash: string): void
}

export interface KeyHoldersOptions {
  readonly store: Pick<AccessStore, 'holdersOf'>
  readonly clock: Pick<Clock, 'now'>
}

const LIFE_MS = 5000
const REFRESH_MS = 2500
const MOST_REMEMBERED = 10_000
/** Unknown keys being looked up at the same time. */
const MOST_ASKED = 1000
const MOST_IN_STATEMENT = 500

interface Remembered {
  readonly principal: Principal | null
  /** When it was asked for: whatever happened before, this is what came of it. */
  readonly atMs: number
}

export function createKeyHolders({ store, clock }: KeyHoldersOptions): KeyHolders {
  const good = new Map<string, Remembered>()
  const bad = new Map<string, Remembered>()
  const underWay = new Map<string, Promise<Principal | null>>()
  const lookUps = createBatcher((hashes: readonly string[]) => store.holdersOf(hashes), MOST_IN_STATEMENT)

  function remember(hash: string, principal: Principal | null, atMs: number): void {
    const [into, outOf] = principal === null ? [bad, good] : [good, bad]
    outOf.delete(hash)
    // The last in, so that the first is the one that was not asked for the longest.
    into.delete(hash)
    into.set(hash, { principal, atMs })
    const [oldest] = into.keys()
    if (into.size > MOST_REMEMBERED && oldest !== undefined) into.delete(oldest)
  }

  function ask(hash: string): Promise<Principal | null> {
    const asked = underWay.get(hash) ?? lookUp(hash, clock.now()).finally(() => underWay.delete(hash))
    underWay.set(hash, asked)
    return asked
  }

  async function lookUp(hash: string, atMs: number): Promise<Principal | null> {
    const holder = await lookUps.add(hash)
    // It was revoked while the answer was on its way.
    if ((bad.get(hash)?.atMs ?? 0) > atMs) return null
    const principal =
      holder === null
        ? null
        : { role: holder.role, userId: holder.userId, name: `${holder.role}:${holder.id}`, keyId: holder.id }
    remember(hash, principal, atMs)
    return principal
  }

  function authenticate(key: string): Found | Promise<Found> {
    if (!isKeyText(key)) return null
    const hash = hashOfKey(key)
    const known = good.get(hash) ?? bad.get(hash)
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : clock.now() - known.atMs
    if (known === undefined || ageMs >= LIFE_MS) {
      const isRefused = underWay.size >= MOST_ASKED && !underWay.has(hash) && !good.has(hash)
      return isRefused ? 'busy' : ask(hash)
    }
    // Should it fail, what is remembered holds for the rest of its time, and then whoever asks is told.
    if (known.principal !== null && ageMs >= REFRESH_MS) ask(hash).catch(() => {})
    return known.principal
  }

  return {
    authenticate,
    // Later than any look-up that may still find it.
    revoked: hash => remember(hash, null, clock.now() + 1),
  }
}
