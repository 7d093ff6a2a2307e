import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DataFolderInUseError } from './errors.ts'
import { type FolderLock, lockDataFolder } from './folder-lock.ts'

let root: string
const folder = async () => await mkdtemp(join(root, 'data-'))
const holder = (id: string, pid: number) => `{"id":"${id}","pid":${pid},"startedAt":"another boot:1"}\n`

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'legwork-lock-'))
})
afterAll(async () => await rm(root, { recursive: true, force: true }))

/** Sixteen at once; the locks of those that won. */
async function race(dataDir: string): Promise<readonly FolderLock[]> {
  const results = await Promise.allSettled(Array.from({ length: 16 }, async () => await lockDataFolder(dataDir)))
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(DataFolderInUseError)
  }
  return results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
}

test('a second holder is refused with the folder and the pid, until the first releases', async () => {
  const dataDir = join(await folder(), 'made', 'here')
  const lock = await lockDataFolder(dataDir)
  const second = lockDataFolder(dataDir)
  await expect(second).rejects.toMatchObject({ code: 'DATA_FOLDER_IN_USE', dataDir, holderPid: process.pid })
  await expect(second).rejects.toThrow(`${dataDir} is in use by the process ${process.pid}`)
  await lock.release()
  await lock.release()
  await (await lockDataFolder(dataDir)).release()
  expect(await readdir(dataDir)).toEqual([])
})

test('the lock of a killed process is taken over, a living one is not', async () => {
  const dataDir = await folder()
  const module = new URL('./folder-lock.ts', import.meta.url).href
  const source = `import { lockDataFolder } from ${JSON.stringify(module)}
    await lockDataFolder(${JSON.stringify(dataDir)}); console.log('held'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  await expect(lockDataFolder(dataDir)).rejects.toMatchObject({ holderPid: child.pid })
  child.kill('SIGKILL')
  await once(child, 'exit')
  await (await lockDataFolder(dataDir)).release()
})

test('a recycled pid is not taken for the holder', async () => {
  const dataDir = await folder()
  await writeFile(join(dataDir, 'legwork.pid'), holder('old', process.pid))
  const lock = await lockDataFolder(dataDir)
  expect(await readFile(join(dataDir, 'legwork.pid'), 'utf8')).not.toContain('another boot')
  await lock.release()
})

test.each([
  ['nothing', {}],
  ['a dead lock', { 'legwork.pid': holder('a', 4_000_000) }],
  ['dead claims on it', { 'legwork.pid': holder('a', 4_000_000), 'legwork.pid.a': holder('b', 4_000_001) }],
  ['a file that names nobody', { 'legwork.pid': '1234\n' }],
])('of many that start at once over %s, one wins', async (_, files) => {
  const dataDir = await folder()
  for (let round = 0; round < 5; round++) {
    for (const [name, text] of Object.entries(files)) await writeFile(join(dataDir, name), text)
    const winners = await race(dataDir)
    expect(winners).toHaveLength(1)
    for (const lock of winners) await lock.release()
  }
  expect((await readdir(dataDir)).filter(name => name === 'legwork.pid' || name.includes('.new-'))).toEqual([])
})
