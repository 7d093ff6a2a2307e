import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { askedMs, backoffMs, MAX_RETRY_AFTER_MS, type RetryPolicy } from './backoff.ts'

const POLICY: RetryPolicy = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1_000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 10,
  undoBackoffMs: 1_000,
  undoSlowRetryMs: 60_000,
}

describe('S-4 the wait before a retry', () => {
  test.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [4, 8_000],
    [5, 16_000],
    [6, 30_000],
    [7, 30_000],
    [10_000, 30_000],
  ])('number %i is %i ms', (retry, waitMs) => {
    expect(backoffMs(POLICY, 1_000, retry, 0.5, null)).toBe(waitMs)
  })

  test('before any attempt counted is the base', () => {
    expect(backoffMs(POLICY, 1_000, 0, 0.5, null)).toBe(1_000)
  })

  test.each([
    ['nothing asked', null, 1_000],
    ['less than the wait', 10, 1_000],
    ['more than the wait', 45_000, 45_000],
    ['more than the cap, which is ours', 3_599_999, 3_599_999],
    ['more than an hour', 3_600_001, MAX_RETRY_AFTER_MS],
    ['a time that has passed', -5, 1_000],
  ])('with Retry-After: %s', (_, retryAfterMs, waitMs) => {
    expect(backoffMs(POLICY, 1_000, 1, 0.5, retryAfterMs)).toBe(waitMs)
  })

  test.each([
    [0, 750],
    [0.5, 1_000],
    [0.999999, 1_250],
  ])('with a jitter of a quarter and a random of %f is %i ms', (random, waitMs) => {
    expect(backoffMs({ ...POLICY, retryJitter: 0.25 }, 1_000, 1, random, null)).toBe(waitMs)
  })

  test('for any policy is a whole number within the jitter of the doubled, capped base, and never below what was asked', () => {
    const policies = fc.record({
      retryMaxBackoffMs: fc.integer({ min: 1, max: 86_400_000 }),
      retryJitter: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    const asks = fc.option(fc.integer({ min: -1_000, max: 10_000_000 }))
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 3_600_000 }),
        fc.integer({ min: 0, max: 2_000 }),
        randoms,
        asks,
        (change, baseMs, retry, random, retryAfterMs) => {
          const policy = { ...POLICY, ...change }
          const waitMs = backoffMs(policy, baseMs, retry, random, retryAfterMs)
          const doublings = BigInt(Math.max(retry - 1, 0))
          const doubled = BigInt(baseMs) * 2n ** doublings
          const cap = BigInt(policy.retryMaxBackoffMs)
          const plain = Number(doubled < cap ? doubled : cap)
          const asked = askedMs(retryAfterMs)
          expect(Number.isSafeInteger(waitMs)).toBe(true)
          expect(waitMs).toBeGreaterThanOrEqual(Math.max(asked, Math.floor(plain * (1 - policy.retryJitter))))
          expect(waitMs).toBeLessThanOrEqual(Math.max(asked, Math.ceil(plain * (1 + policy.retryJitter))))
        },
      ),
    )
  })

  test('without jitter never gets shorter from one retry to the next', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 100 }), (baseMs, retry) => {
        const waitMs = backoffMs(POLICY, baseMs, retry, 0.5, null)
        expect(backoffMs(POLICY, baseMs, retry + 1, 0.5, null)).toBeGreaterThanOrEqual(waitMs)
      }),
    )
  })
})
