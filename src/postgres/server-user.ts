import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, PostgresStartError } from './errors.ts'

/** The user a server runs as when that is not the user of this process. */
export interface ServerUser {
  readonly uid: number
  readonly gid: number
  readonly name: string
}

/**
 * Whom the server has to run as: `undefined` for the user of this process. PostgreSQL refuses root, so as root it is the
 * owner of the existing cluster, else `postgres`, else `nobody`. Throws `NO_SERVER_USER`, or `NO_PERMISSION` when the
 * cluster is another user's.
 */
export async function chooseServerUser(cluster: string, passwdPath = '/etc/passwd'): Promise<ServerUser | undefined> {
  const own = process.getuid?.()
  const folder = await statIfThere(cluster)
  if (own !== 0) {
    if (folder === undefined || folder.uid === own) return undefined
    throw new PostgresStartError(
      'NO_PERMISSION',
      `The database files in ${cluster} belong to the user with the id ${folder.uid}, Legwork runs as ${own}`,
      'Start Legwork as root or as the owner of the folder, or give the folder to this user (chown -R).',
    )
  }
  if (folder !== undefined && folder.uid !== 0) return { uid: folder.uid, gid: folder.gid, name: `uid ${folder.uid}` }
  const passwd = await readFile(passwdPath, 'utf8').catch(() => '')
  const user = userNamed(passwd, 'postgres') ?? userNamed(passwd, 'nobody')
  if (user !== undefined) return user
  throw new PostgresStartError(
    'NO_SERVER_USER',
    `PostgreSQL refuses to run as root, and ${passwdPath} has neither a user "postgres" nor "nobody" to run it as`,
    'Start Legwork as an ordinary user, or add one (useradd --system postgres).',
  )
}

/**
 * True when the mode bits let the user read and, for a folder or program, search or run the path, through every folder
 * above it. Supplementary groups do not count: the server is started without any.
 */
export async function canReach(user: ServerUser, path: string): Promise<boolean> {
  const target = await realpath(path)
  if (!(await allows(user, target, 0o5))) return false
  for (let folder = dirname(target); ; folder = dirname(folder)) {
    if (!(await allows(user, folder, 0o1))) return false
    if (folder === dirname(folder)) return true
  }
}

async function allows(user: ServerUser, path: string, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
  return ((mode >> shift) & bits) === bits
}

function userNamed(passwd: string, name: string): ServerUser | undefined {
  const fields = passwd
    .split('\n')
    .map(line => line.split(':'))
    .find(line => line[0] === name)
  const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])]
  return uid > 0 && gid > 0 ? { uid, gid, name } : undefined
}

async function statIfThere(path: string) {
  try {
    return await stat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
