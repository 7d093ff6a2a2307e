import { expect, test } from 'vitest'
import { createVirtualClock, type VirtualClock } from '../../../test/support/virtual-clock.ts'
import type { KeyHolder } from '../../store/access-store.ts'
import type { Found, Principal } from '../auth.ts'
import { createKeyHolders, type KeyHolders } from './key-holders.ts'
import { freshKey, hashOfKey, isKeyText } from './key-text.ts'

interface Bench {
  readonly clock: VirtualClock
  readonly holders: KeyHolders
  /** The hashes of each statement. */
  readonly statements: string[][]
  readonly stored: Map<string, KeyHolder>
  /** Statements are answered once it is called; not before, while it is held. */
  hold(): () => void
  fail(error: Error | null): void
}

function bench(): Bench {
  const clock = createVirtualClock()
  const statements: string[][] = []
  const stored = new Map<string, KeyHolder>()
  let held: Promise<void> = Promise.resolve()
  let failure: Error | null = null
  const store = {
    holdersOf: async (hashes: readonly string[]) => {
      statements.push([...hashes])
      const found = hashes.map(hash => stored.get(hash) ?? null)
      await held
      if (failure !== null) throw failure
      return found
    },
  }
  return {
    clock,
    holders: createKeyHolders({ store, clock }),
    statements,
    stored,
    hold: () => {
      const gate = Promise.withResolvers<void>()
      held = gate.promise
      return () => gate.resolve()
    },
    fail: error => {
      failure = error
    },
  }
}

/** A key that is stored. */
function keyIn({ stored }: Bench, id = 'id-1'): string {
  const key = freshKey()
  stored.set(hashOfKey(key), { id, role: 'operator', userId: null })
  return key
}

/** Whatever it says, once it says it. */
async function foundBy({ holders }: Bench, key: string): Promise<Found> {
  return await holders.authenticate(key)
}

const OPERATOR: Principal = { role: 'operator', userId: null, name: 'operator:id-1', keyId: 'id-1' }

test('a key is looked up once, and then known at once for five seconds', async () => {
  const all = bench()
  const key = keyIn(all)
  const asked = [foundBy(all, key), foundBy(all, key)]
  expect(await Promise.all(asked)).toEqual([OPERATOR, OPERATOR])
  expect(all.statements).toEqual([[hashOfKey(key)]])
  await all.clock.advance(2499)
  expect(all.holders.authenticate(key)).toEqual(OPERATOR)
  expect(all.statements).toHaveLength(1)
})

test('one in use is asked for again in the background, and nobody waits for it', async () => {
  const all = bench()
  const key = keyIn(all)
  await all.holders.authenticate(key)
  for (let second = 0; second < 60; second++) {
    await all.clock.advance(1000)
    expect(all.holders.authenticate(key)).toEqual(OPERATOR)
    await all.clock.quiet()
  }
  // The first one, and then one every three seconds.
  expect(all.statements).toHaveLength(21)
})

test('a key revoked elsewhere is refused within five seconds, in use or not', async () => {
  const all = bench()
  const [used, unused] = [keyIn(all), keyIn(all)]
  await Promise.all([used, unused].map(key => foundBy(all, key)))
  all.stored.clear()
  let refusedAfterMs = 0
  for (let ms = 0; ms < 5000; ms += 100) {
    if (all.holders.authenticate(used) !== null) refusedAfterMs = ms + 100
    await all.clock.advance(100)
  }
  expect(refusedAfterMs).toBe(2600)
  expect(all.holders.authenticate(used)).toBeNull()
  expect(await all.holders.authenticate(unused)).toBeNull()
})

test('its time counts from when it was asked for, not from when the answer came', async () => {
  const all = bench()
  const key = keyIn(all)
  const release = all.hold()
  const asked = all.holders.authenticate(key)
  await all.clock.advance(3000)
  release()
  expect(await asked).toEqual(OPERATOR)
  all.stored.clear()
  await all.clock.advance(2000)
  expect(await all.holders.authenticate(key)).toBeNull()
})

test('a key revoked here is refused at once, also while it is being looked up', async () => {
  const all = bench()
  const key = keyIn(all)
  await all.holders.authenticate(key)
  all.holders.revoked(hashOfKey(key))
  expect(all.holders.authenticate(key)).toBeNull()

  const other = keyIn(all)
  const release = all.hold()
  const asked = all.holders.authenticate(other)
  await all.clock.quiet()
  all.holders.revoked(hashOfKey(other))
  release()
  expect(await asked).toBeNull()
  expect(all.holders.authenticate(other)).toBeNull()
})

test('what can be no key of ours is never looked up', () => {
  const all = bench()
  for (const text of ['', 'x', 'lw_', `lw_${'a'.repeat(42)}`, `lw_${'a'.repeat(44)}`, `lw_${'é'.repeat(43)}`]) {
    expect(all.holders.authenticate(text)).toBeNull()
    expect(isKeyText(text)).toBe(false)
  }
  expect(all.statements).toEqual([])
  expect(isKeyText(freshKey())).toBe(true)
})

test('unknown keys are remembered as such, and push no good one out', async () => {
  const all = bench()
  const key = keyIn(all)
  await all.holders.authenticate(key)
  const wrong = freshKey()
  expect(await all.holders.authenticate(wrong)).toBeNull()
  expect(all.holders.authenticate(wrong)).toBeNull()
  expect(all.statements).toHaveLength(2)
  for (let round = 0; round < 11; round++) {
    await Promise.all(Array.from({ length: 1000 }, () => foundBy(all, freshKey())))
  }
  const before = all.statements.length
  expect(all.holders.authenticate(key)).toEqual(OPERATOR)
  // The oldest of the unknown ones is forgotten: there is a bound.
  expect(all.holders.authenticate(wrong)).toBeInstanceOf(Promise)
  await all.clock.quiet()
  expect(all.statements.length).toBe(before + 1)
})

test('whoever tries keys costs one statement at a time, and waits where there are too many', async () => {
  const all = bench()
  const key = keyIn(all)
  await all.holders.authenticate(key)
  const release = all.hold()
  const asked = Array.from({ length: 1500 }, () => foundBy(all, freshKey()))
  await all.clock.quiet()
  // One is under way; its answer begins the next.
  expect(all.statements).toHaveLength(2)
  // A key that is known is not kept waiting, also when its time is over.
  await all.clock.advance(6000)
  const known = all.holders.authenticate(key)
  expect(known).toBeInstanceOf(Promise)
  expect(all.holders.authenticate(freshKey())).toBe('busy')
  release()
  expect(await known).toEqual(OPERATOR)
  const said = await Promise.all(asked)
  expect(said.filter(found => found === null)).toHaveLength(1000)
  expect(said.filter(found => found === 'busy')).toHaveLength(500)
  expect(Math.max(...all.statements.map(hashes => hashes.length))).toBe(500)
  expect(await all.holders.authenticate(freshKey())).toBeNull()
})

test('without a database what is remembered holds for the rest of its time, and then it is told', async () => {
  const all = bench()
  const key = keyIn(all)
  await all.holders.authenticate(key)
  all.fail(new Error('away'))
  await all.clock.advance(4999)
  expect(all.holders.authenticate(key)).toEqual(OPERATOR)
  await all.clock.advance(1)
  await expect(all.holders.authenticate(key)).rejects.toThrow('away')
  all.fail(null)
  expect(await all.holders.authenticate(key)).toEqual(OPERATOR)
})
