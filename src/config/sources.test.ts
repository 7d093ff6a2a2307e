import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, type ConfigFault } from './faults.ts'
import { fileLayer, type Layer } from './sources.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legwork-config-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

interface Given {
  /** Written to `config.yaml` in the test's folder. */
  readonly yaml?: string
  readonly path?: string
}

function readWithFaults({ yaml, path }: Given): { readonly layer: Layer; readonly faults: readonly ConfigFault[] } {
  if (yaml !== undefined) writeFileSync(join(folder, 'config.yaml'), yaml)
  const faults: ConfigFault[] = []
  const layer = fileLayer(path ?? null, folder, faults)
  return { layer, faults }
}

function read(given: Given): Layer {
  const { layer, faults } = readWithFaults(given)
  expect(faults).toEqual([])
  return layer
}

function faultsOf(given: Given): readonly ConfigFault[] {
  return readWithFaults(given).faults
}

function messageOf(given: Given): string {
  return new ConfigError(faultsOf(given)).message
}

describe('the file', () => {
  test('the one that --config names is read instead of config.yaml, against the current folder', () => {
    writeFileSync(join(folder, 'other.json'), '{"server": {"port": 1234}}')
    const yaml = 'server: { host: localhost }'
    expect([...read({ yaml, path: 'other.json' }).keys()]).toEqual(['server.port'])
  })

  test('the one that --config names has to be there', () => {
    expect(messageOf({ path: 'missing.yaml' })).toBe('missing.yaml: there is no such file')
  })

  test('a folder is no file', () => {
    mkdirSync(join(folder, 'config.yaml'))
    expect(messageOf({})).toBe('config.yaml: this is a folder, not a file')
  })

  test('what has no words of its own is told by its code', () => {
    writeFileSync(join(folder, 'plain'), '')
    expect(messageOf({ path: 'plain/config.yaml' })).toBe("plain/config.yaml: the file can't be read: ENOTDIR")
  })

  test('a file over 1 MiB is refused', () => {
    const padding = '#'.repeat(1024 * 1024 - 1)
    expect(messageOf({ yaml: `${padding}\n` })).toBe('')
    expect(messageOf({ yaml: `${padding}#\n` })).toBe(
      'config.yaml: the file is too large; allowed: at most 1048576 bytes',
    )
  })

  test('bytes that are not UTF-8 are refused', () => {
    writeFileSync(join(folder, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]))
    expect(messageOf({ path: 'latin.yaml' })).toBe('latin.yaml: the file is not UTF-8 text')
  })

  test('a byte order mark and CRLF are accepted, and shift no column', () => {
    expect(read({ yaml: '\uFEFFserver:\r\n  port: 1\r\n' }).get('server.port')).toMatchObject({ text: '1' })
    expect(faultsOf({ yaml: '\uFEFFport: 1\r\nserver:\r\n  prot: 1\r\n' })).toMatchObject([
      { where: 'config.yaml:1:1' },
      { where: 'config.yaml:3:3' },
    ])
  })

  test('a pipe is read like a file', () => {
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    execFileSync('sh', ['-c', 'printf "server: { port: 7 }" > "$0" &', pipe], { stdio: 'ignore' })
    expect(read({ path: pipe }).get('server.port')).toMatchObject({ text: '7' })
  })

  test.each([
    ['- server', 'config.yaml:1:1', 'a list'],
    ['port', 'config.yaml:1:1', 'a text'],
    ['42', 'config.yaml:1:1', 'a number'],
  ])('%j is no mapping of settings', (yaml, where, value) => {
    expect(faultsOf({ yaml })).toEqual([
      { setting: null, value, problem: 'wrong type', allowed: 'a mapping of settings', where },
    ])
  })

  test('a section has to be a mapping, and what it holds instead is not shown', () => {
    expect(faultsOf({ yaml: 'wallet: hunter2' })).toEqual([
      {
        setting: 'wallet',
        value: 'a text',
        problem: 'wrong type',
        allowed: 'a mapping of url, token, idempotent',
        where: 'config.yaml:1:9',
      },
    ])
  })
})

describe('unknown keys', () => {
  test.each([
    ['setlement: {}', 'config.yaml:1:1', 'setlement', 'settlement'],
    ['server:\n  prot: 80', 'config.yaml:2:3', 'server.prot', 'server.port'],
    [
      'settlement: { workerPoolSize: 5 }',
      'config.yaml:1:15',
      'settlement.workerPoolSize',
      'settlement.worker_pool_size',
    ],
    ['poll_ms: 5', 'config.yaml:1:1', 'poll_ms', 'settlement.poll_ms'],
    ['server: { rail: saga }', 'config.yaml:1:11', 'server.rail', 'settlement.rail'],
    ['wallet: { urls: null }', 'config.yaml:1:11', 'wallet.urls', 'wallet.url'],
    ['Server: {}', 'config.yaml:1:1', 'Server', 'server'],
  ])('%j is told with its place and the nearest known name', (yaml, where, setting, near) => {
    const problem = `not a known setting; the nearest known name is ${near}`
    expect(faultsOf({ yaml })).toMatchObject([{ setting, problem, where }])
  })

  test.each(['__proto__', 'constructor', '""'])('%s is a key like any other', key => {
    expect(faultsOf({ yaml: `${key}: { port: 1 }` })).toMatchObject([{ where: 'config.yaml:1:1' }])
  })

  test('a secret that became a part of the key, for want of a space, is not shown', () => {
    expect(messageOf({ yaml: 'wallet: {token:hunter2}' })).toBe(
      'config.yaml:1:10: wallet.token…: not a known setting; the nearest known name is wallet.token; ' +
        'a space is missing after a colon',
    )
  })
})
