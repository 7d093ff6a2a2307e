import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseUuid } from '../core/ids.ts'
import { createCast, tradeId } from './cast.ts'

const market = 'BTC/USDT'

describe('createCast', () => {
  test('gives every line two different users of the cast, again and again the same', () => {
    const anyLine = fc.oneof(fc.nat(), fc.maxSafeNat())
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.integer({ min: 2, max: 50 }), anyLine, (seed, users, line) => {
        const cast = createCast({ seed, users, market })
        const sides = cast.sidesOf(line)
        expect(cast.userIds).toContain(sides.buyerUserId)
        expect(cast.userIds).toContain(sides.sellerUserId)
        expect(sides.buyerUserId).not.toBe(sides.sellerUserId)
        expect(createCast({ seed, users, market }).sidesOf(line)).toEqual(sides)
      }),
    )
  })

  test('makes distinct UUIDs that do not depend on market or number of users', () => {
    const { userIds } = createCast({ seed: 1, users: 1000, market })
    expect(new Set(userIds).size).toBe(1000)
    expect(userIds.every(id => parseUuid(id) === id && /^.{14}8.{4}[89ab]/.test(id))).toBe(true)
    expect(createCast({ seed: 1, users: 3, market: 'ETH/USDT' }).userIds).toEqual(userIds.slice(0, 3))
    expect(createCast({ seed: 2, users: 3, market }).userIds).not.toEqual(userIds.slice(0, 3))
  })

  test('casts everybody about equally often, as buyer and as seller, in every pairing', () => {
    const users = 5
    const cast = createCast({ seed: 1, users, market })
    const pairs = new Map<string, number>()
    const lines = 20_000
    for (let line = 1; line <= lines; line += 1) {
      const { buyerUserId, sellerUserId } = cast.sidesOf(line)
      const pair = `${buyerUserId} ${sellerUserId}`
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
    }
    expect(pairs.size).toBe(users * (users - 1))
    for (const times of pairs.values()) expect(times / (lines / pairs.size)).toBeCloseTo(1, 0.5)
  })

  test('casts otherwise for another seed, another market, and lines 2^32 apart', () => {
    const sides = (seed: number, symbol: string, from: number): string => {
      const cast = createCast({ seed, users: 200, market: symbol })
      return JSON.stringify(Array.from({ length: 20 }, (_, n) => cast.sidesOf(from + n)))
    }
    const all = [sides(1, market, 1), sides(2, market, 1), sides(1, 'ETH/USDT', 1), sides(1, market, 1 + 2 ** 32)]
    expect(new Set(all).size).toBe(4)
  })

  test('refuses fewer than two users and seeds that are no safe integers', () => {
    expect(() => createCast({ seed: 1, users: 1, market })).toThrow('a trade needs at least 2 users, not 1')
    expect(() => createCast({ seed: 1, users: 2.5, market })).toThrow(RangeError)
    expect(() => createCast({ seed: 2 ** 53, users: 2, market })).toThrow(RangeError)
  })
})

describe('tradeId', () => {
  const fingerprint = 'ab'.repeat(32)

  test('is what it was in earlier versions, else a replay run again would settle twice', () => {
    expect(tradeId(1, market, fingerprint, 2)).toBe('5e13b5cd-ad3a-84a1-a9a2-e1f934027771')
    expect(createCast({ seed: 1, users: 2, market }).userIds[0]).toBe('f3fbe357-4360-8473-ab91-d0a9231ce6ff')
    expect(createCast({ seed: 1, users: 200, market }).sidesOf(2)).toEqual({
      buyerUserId: '4b7605a4-8b1f-8a6f-a452-4a8546d09b1e',
      sellerUserId: '111c1d0c-ff08-8811-a6aa-ac5c54d850a2',
    })
  })

  test('follows from each of its arguments', () => {
    const ids = [
      tradeId(1, market, fingerprint, 2),
      tradeId(2, market, fingerprint, 2),
      tradeId(1, 'ETH/USDT', fingerprint, 2),
      tradeId(1, market, 'cd'.repeat(32), 2),
      tradeId(1, market, fingerprint, 3),
    ]
    expect(new Set(ids).size).toBe(5)
    for (const id of ids) expect(parseUuid(id)).toBe(id)
  })
})
