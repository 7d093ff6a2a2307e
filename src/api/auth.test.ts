import { expect, test } from 'vitest'
import { type Authenticate, adminKeyOnly, eitherOf, isAtLeast, keyOf, maySee, type Principal } from './auth.ts'

const ADMIN: Principal = { role: 'admin', userId: null, name: 'admin' }
const OTHER: Principal = { role: 'viewer', userId: null, name: 'viewer:1', keyId: '1' }

test('the admin key is known at once, and only for another key somebody else is asked', async () => {
  const asked: string[] = []
  const others: Authenticate = async key => {
    asked.push(key)
    return key === 'other' ? OTHER : null
  }
  const all = eitherOf(
    adminKeyOnly(key => key === 'first'),
    others,
  )
  expect(all('first')).toEqual(ADMIN)
  expect(asked).toEqual([])
  expect(await all('other')).toEqual(OTHER)
  expect(await all('nobody')).toBeNull()
  const late = eitherOf(async key => (key === 'first' ? ADMIN : null), others)
  expect([await late('first'), await late('other')]).toEqual([ADMIN, OTHER])
  expect(
    eitherOf(
      () => null,
      () => 'busy',
    )('x'),
  ).toBe('busy')
})

test('each role may what the one before may; a trader stands beside them', () => {
  const may = (role: Principal['role']) =>
    (['viewer', 'operator', 'admin'] as const).filter(needed => isAtLeast({ ...OTHER, role }, needed))
  expect(may('viewer')).toEqual(['viewer'])
  expect(may('operator')).toEqual(['viewer', 'operator'])
  expect(may('admin')).toEqual(['viewer', 'operator', 'admin'])
  expect(may('trader')).toEqual([])
})

test('a trader sees its own, and without a user nothing', () => {
  const trader: Principal = { ...OTHER, role: 'trader', userId: 'me' }
  expect(maySee(trader, ['you', 'me'])).toBe(true)
  expect(maySee(trader, ['you'])).toBe(false)
  expect(maySee({ ...trader, userId: null }, ['you'])).toBe(false)
  expect(maySee(OTHER, ['you'])).toBe(true)
})

test('a key is read from the one scheme, and bounded', () => {
  expect(keyOf('Bearer abc')).toBe('abc')
  expect(keyOf('bearer   abc')).toBe('abc')
  for (const wrong of [undefined, '', 'Bearer', 'Basic abc', 'Bearer a b', `Bearer ${'x'.repeat(513)}`]) {
    expect(keyOf(wrong)).toBeUndefined()
  }
})
