import { randomUUID } from 'node:crypto'
import { link, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, DataFolderInUseError } from './errors.ts'
import { startOf } from './processes.ts'

/*
 * `legwork.pid` names the one process that owns a data folder: its pid, when it started, and an id of this lock.
 *
 * Taking it is link(2) of a file already complete: one starter wins, nobody reads half a lock. A holder that no longer
 * runs is replaced; reading and then removing its file would let two starters remove each other's, so first they compete,
 * again by link, for `legwork.pid.<id of the dead lock>`. Only the winner may replace that very lock, by renaming its
 * claim over it, which ends claim and dead lock in one step. A winner that dies before the rename leaves a claim with a
 * dead holder, which is taken over in the same way. Processes of other pid namespaces (containers) cannot be seen.
 */

/** The right to use a data folder. */
export interface FolderLock {
  /** Gives the folder back; again is harmless. */
  release(): Promise<void>
}

interface Holder {
  readonly id: string
  readonly pid: number
  readonly startedAt: string
}

/**
 * Makes the data folder (0700) where it is missing and takes it for this process; it ends with the process, however that
 * ends. Throws `DataFolderInUseError` while another holder lives, this process included.
 */
export async function lockDataFolder(dataDir: string): Promise<FolderLock> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'legwork.pid')
  const mine: Holder = { id: randomUUID(), pid: process.pid, startedAt: (await startOf(process.pid)) ?? 'unknown' }
  const file = `${path}.new-${mine.id}`
  try {
    await writeDurably(file, `${JSON.stringify(mine)}\n`)
    await take(path, file, dataDir)
  } finally {
    await rm(file, { force: true })
  }
  return {
    release: async () => {
      // A live holder is never replaced, so between this look and the removal the file stays ours.
      if ((await holderIn(path))?.id === mine.id) await rm(path, { force: true })
    },
  }
}

async function take(path: string, file: string, dataDir: string): Promise<void> {
  while (true) {
    if (await linked(file, path)) return
    const holder = await holderIn(path)
    if (holder === undefined) continue
    if ((await startOf(holder.pid)) === holder.startedAt) throw new DataFolderInUseError(dataDir, holder.pid)
    const claim = `${join(dataDir, 'legwork.pid')}.${holder.id}`
    await take(claim, file, dataDir)
    if ((await holderIn(path))?.id === holder.id) return await rename(claim, path)
    // Someone replaced that lock and ended the claim before we made ours.
    await rm(claim, { force: true })
  }
}

async function linked(file: string, path: string): Promise<boolean> {
  try {
    await link(file, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

async function holderIn(path: string): Promise<Holder | undefined> {
  try {
    await using file = await open(path, 'r')
    const match = HOLDER.exec(await file.readFile('utf8'))
    // What names no holder (another program's file, or one a failing disk spoiled) counts as a dead holder's.
    if (match === null) return { id: `unreadable-${(await file.stat()).ino}`, pid: 0, startedAt: 'never' }
    return { id: match[1] ?? '', pid: Number(match[2]), startedAt: match[3] ?? '' }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

const HOLDER = /^\{"id":"([\w-]+)","pid":(\d+),"startedAt":"([^"]+)"\}\n$/

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(text)
  await file.sync()
}
