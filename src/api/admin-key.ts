import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { link, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { freshKey } from './keys/key-text.ts'

/** The first admin key. */
export interface AdminKey {
  /** In a time that says nothing about the key. */
  readonly matches: (key: string) => boolean
  /** The key, where this call has made it: to be shown once. Null: it was given, or was there. */
  readonly made: string | null
}

const FILE = 'admin.key'

/**
 * The admin key: the one given by the configuration, else the one kept in the data folder as `admin.key`, which is made
 * at the first start and readable by its owner alone. Two processes that start at once get the same.
 */
export async function openAdminKey(dataDir: string, given: string | null): Promise<AdminKey> {
  if (given !== null) return { matches: matcher(given), made: null }
  const kept = await readKept(join(dataDir, FILE))
  if (kept !== null) return { matches: matcher(kept), made: null }
  const fresh = freshKey()
  const isFirst = await keep(dataDir, fresh)
  const key = isFirst ? fresh : await readKept(join(dataDir, FILE))
  if (key === null) throw new Error(`${join(dataDir, FILE)} was there and is gone`)
  return { matches: matcher(key), made: isFirst ? fresh : null }
}

function matcher(key: string): (given: string) => boolean {
  const wanted = hash('sha256', key, 'buffer')
  return given => timingSafeEqual(hash('sha256', given, 'buffer'), wanted)
}

/** Null: there is none yet. */
async function readKept(path: string): Promise<string | null> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (file === null) return null
  try {
    // A folder that was copied may have lost the file's mode on the way.
    if (((await file.stat()).mode & 0o077) !== 0) await file.chmod(0o600)
    const key = (await file.readFile('utf8')).trim()
    if (key === '') throw new Error(`${path} is empty: remove it, and the next start makes a new key`)
    return key
  } finally {
    await file.close()
  }
}

/** Writes it whole under another name, then links it: the file is there completely or not at all. False: one was there. */
async function keep(dataDir: string, key: string): Promise<boolean> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const draft = join(dataDir, `${FILE}.${randomBytes(6).toString('hex')}`)
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(`${key}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await link(draft, join(dataDir, FILE))
    await syncFolder(dataDir)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

/** So that the name is as durable as what it names. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
