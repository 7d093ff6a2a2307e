/** How often and how long apart a call is repeated. Times in milliseconds; `jitter` is a share of the wait, 0 to 1. */
export interface RetryPolicy {
  /** Retries of a leg after its first attempt; 3 by default, so four calls in all. */
  readonly retryMaxAttempts: number
  readonly retryBackoffMs: number
  readonly retryMaxBackoffMs: number
  readonly retryJitter: number
  /** Calls of one undo before the rollback is parked as incomplete. */
  readonly undoMaxAttempts: number
  readonly undoBackoffMs: number
  /** Between two calls for a parked rollback. */
  readonly undoSlowRetryMs: number
}

/** The longest `Retry-After` that is obeyed: an hour (wallet-protocol.md). */
export const MAX_RETRY_AFTER_MS = 3_600_000

/** How long the wallet asked to be left alone, as far as it is obeyed. */
export function askedMs(retryAfterMs: number | null): number {
  return Math.min(Math.max(retryAfterMs ?? 0, 0), MAX_RETRY_AFTER_MS)
}

/**
 * The wait before retry number `retry` (from 1): base, 2 × base, 4 × base, … up to the cap, then moved either way by the
 * jitter share; never shorter than what the wallet asked for. With the defaults and no jitter: 1 s, 2 s, 4 s, … 30 s.
 *
 * @param random from 0 to below 1; 0.5 leaves the wait as it is.
 */
export function backoffMs(
  policy: RetryPolicy,
  baseMs: number,
  retry: number,
  random: number,
  retryAfterMs: number | null,
): number {
  // 2^30 times any base is past every cap; beyond it the power would only lose exactness.
  const doubled = baseMs * 2 ** Math.min(Math.max(retry - 1, 0), 30)
  const capped = Math.min(doubled, policy.retryMaxBackoffMs)
  const jittered = capped * (1 + policy.retryJitter * (2 * random - 1))
  return Math.max(Math.round(jittered), askedMs(retryAfterMs))
}
