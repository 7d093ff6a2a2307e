import { chmod, chown, cp, mkdir, stat, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LEGWORK, openWorkshop, SEED, seededRandom, tradesCsv, type Workshop } from '../support/process.ts'

const NOBODY = 65534

let shop: Workshop

beforeAll(async () => {
  shop = await openWorkshop()
})

afterAll(async () => {
  await shop.close()
})

test.each([
  ['20.11.1', 'echo 20.11.1'],
  ['none', 'exit 127'],
])('a machine whose Node.js is %s gets a plain message', async (version, answer) => {
  const [installed, programs] = [shop.path(`installed-${version}`), shop.path(`programs-${version}`)]
  await mkdir(programs)
  await cp(new URL('../../bin', import.meta.url), `${installed}/bin`, { recursive: true })
  await cp(new URL('../../package.json', import.meta.url), `${installed}/package.json`)
  await writeFile(`${programs}/node`, `#!/bin/sh\n[ "$1" = -p ] || exit 99\n${answer}\n`, { mode: 0o755 })
  const ended = await shop.run(['replay', 'trades.csv'], {
    program: `${installed}/bin/legwork`,
    env: { PATH: `${programs}:/usr/bin:/bin` },
  })
  expect(ended).toEqual({
    status: 7,
    stdout: '',
    stderr: expect.stringMatching(
      new RegExp(`^legwork needs Node\\.js [0-9.]+ or later; this machine has ${version}\\.\\n.*npm ci.*\\n$`),
    ),
  })
})

test('an ordinary user needs no rights but those to its own data folder', async ({ skip }) => {
  skip(process.getuid?.() !== 0, 'the tests do not run as root, so all others show it')
  await chmod(shop.folder, 0o755)
  const reachable = await shop.run(['--version'], { uid: NOBODY }).catch(() => null)
  skip(reachable?.status !== 0, `the user ${NOBODY} can not run ${LEGWORK}`)
  await writeFile(shop.path('trades.csv'), tradesCsv(200, seededRandom(SEED)), { mode: 0o644 })
  const dataDir = shop.path('data')
  await mkdir(dataDir)
  await chown(dataDir, NOBODY, NOBODY)
  const args = ['replay', 'trades.csv', '--market', 'BTC/USDT', '--data-dir', dataDir, '--json']
  const { status, stdout, stderr } = await shop.run(args, { uid: NOBODY })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({ trades: 200, settled: 200, conserved: true, breaks: 0 })
  expect((await stat(`${dataDir}/postgres`)).uid).toBe(NOBODY)
  const verified = await shop.run(['verify', '--data-dir', dataDir], { uid: NOBODY })
  expect(verified).toMatchObject({ status: 0, stderr: '' })
})
