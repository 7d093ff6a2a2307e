import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openAdminKey } from './admin-key.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'legwork-key-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const path = (): string => join(folder, 'admin.key')

test('the first start makes a key that only its owner can read; later ones find it', async () => {
  const first = await openAdminKey(folder, null)
  expect(first.made).toMatch(/^lw_[A-Za-z0-9_-]{43}$/)
  expect((await stat(path())).mode & 0o777).toBe(0o600)
  expect((await readFile(path(), 'utf8')).trim()).toBe(first.made)
  const second = await openAdminKey(folder, null)
  expect(second.made).toBeNull()
  for (const { matches } of [first, second]) {
    expect(matches(first.made ?? '')).toBe(true)
    for (const wrong of ['', 'x', `${first.made} `, (first.made ?? '').slice(1)]) expect(matches(wrong)).toBe(false)
  }
  expect(await readdir(folder)).toEqual(['admin.key'])
})

test('a key that is given is used, and none is made', async () => {
  const { matches, made } = await openAdminKey(folder, 'given')
  expect([made, matches('given'), matches('Given')]).toEqual([null, true, false])
  expect(await readdir(folder)).toEqual([])
})

test('a data folder that is not there yet is made', async () => {
  expect((await openAdminKey(join(folder, 'a', 'b'), null)).made).not.toBeNull()
})

test('processes that start at once get the same key, and one of them has made it', async () => {
  const keys = await Promise.all(Array.from({ length: 20 }, () => openAdminKey(folder, null)))
  const made = keys.flatMap(key => key.made ?? [])
  expect(made.length).toBe(1)
  expect(keys.every(({ matches }) => matches(made[0] ?? ''))).toBe(true)
  expect(await readdir(folder)).toEqual(['admin.key'])
})

test('a file that others could read is closed to them', async () => {
  await openAdminKey(folder, null)
  await chmod(path(), 0o644)
  await openAdminKey(folder, null)
  expect((await stat(path())).mode & 0o777).toBe(0o600)
})

test('an empty file is an error that says what to do, not a key', async () => {
  await writeFile(path(), '\n')
  await expect(openAdminKey(folder, null)).rejects.toThrow(/admin\.key is empty/)
})
