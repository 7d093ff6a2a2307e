import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, type ConfigFault, type ConfigSources, describeSettings, loadConfig } from './config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legwork-config-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

interface Given extends Partial<ConfigSources> {
  /** Written to `config.yaml` in the test's folder. */
  readonly yaml?: string
}

function load({ yaml, path = null, env = {}, flags = {} }: Given = {}) {
  if (yaml !== undefined) writeFileSync(join(folder, 'config.yaml'), yaml)
  return loadConfig({ path, env, flags, cwd: folder })
}

function errorOf(given: Given): ConfigError | null {
  try {
    load(given)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  return null
}

function faultsOf(given: Given): readonly ConfigFault[] {
  return errorOf(given)?.faults ?? []
}

function messageOf(given: Given): string {
  return errorOf(given)?.message ?? ''
}

const BTC = { code: 'BTC', scale: 8 }
const USDT = { code: 'USDT', scale: 8 }
const BTC_USDT = {
  symbol: 'BTC/USDT',
  base: BTC,
  quote: USDT,
  tickSize: '0.01',
  lotSize: '0.00001',
  minNotional: '0',
  makerFee: '0.0005',
  takerFee: '0.001',
  rounding: null,
}

/** The document of http-api.md, "Configuration", to the letter. */
const DOCUMENTED = `
server:    { host: 127.0.0.1, port: 8080 }              # port 0: any free one
database:  { url: null }                                # null: the embedded PostgreSQL in the data folder
wallet:    { url: null, token: null, idempotent: true } # url null: the built-in ledger
assets:
  - { code: BTC,  scale: 8 }
  - { code: USDT, scale: 8 }
markets:
  - { symbol: BTC/USDT, tick_size: "0.01", lot_size: "0.00001", min_notional: "0", maker_fee: "0.0005", taker_fee: "0.001" }
settlement:
  worker_pool_size: 10
  queue_capacity: 1000
  retry_max_attempts: 3        # retries after the first attempt
  retry_backoff_ms: 1000       # 1 s, 2 s, 4 s
  retry_max_backoff_ms: 30000
  retry_jitter: 0.2            # share of the wait, either way; 0 for none
  undo_max_attempts: 10        # then parked as an incomplete rollback
  undo_backoff_ms: 1000        # doubles, same cap and jitter
  undo_slow_retry_ms: 60000    # of a parked rollback, until it is complete or resolved
  timeout_ms: 5000             # of one wallet call
  lease_ms: 30000
  poll_ms: 1000
  leg_order: buyer-first       # or debits-first
  rail: auto                   # or atomic, saga
  dead_letter_queue_enabled: true
  fee_user_id: 00000000-0000-0000-0000-000000000001
`

describe('defaults', () => {
  test('without any source the configuration is complete, and trades BTC against USDT', () => {
    const { config, warnings } = load()
    expect(warnings).toEqual([])
    expect(config).toEqual({
      dataDir: join(folder, 'legwork-data'),
      server: { host: '127.0.0.1', port: 8080 },
      database: { url: null },
      wallet: { url: null, token: null, idempotent: true },
      assets: [BTC, USDT],
      markets: [BTC_USDT],
      settlement: {
        workerPoolSize: 10,
        queueCapacity: 1000,
        retryMaxAttempts: 3,
        retryBackoffMs: 1000,
        retryMaxBackoffMs: 30000,
        retryJitter: 0.2,
        undoMaxAttempts: 10,
        undoBackoffMs: 1000,
        undoSlowRetryMs: 60000,
        timeoutMs: 5000,
        leaseMs: 30000,
        pollMs: 1000,
        legOrder: 'buyer-first',
        rail: 'auto',
        deadLetterQueueEnabled: true,
        feeUserId: '00000000-0000-0000-0000-000000000001',
      },
      adminToken: null,
    })
  })

  test('the documented file says what the defaults say', () => {
    expect(load({ yaml: DOCUMENTED }).config).toEqual(load().config)
  })

  test('a default market is left out where its assets are not configured', () => {
    const { config } = load({ yaml: 'assets: [{ code: ETH, scale: 8 }, { code: USDT, scale: 8 }]' })
    expect(config.markets).toEqual([])
  })

  test.each(['', '\n# all of it commented out\n', '---\n', 'server:\nsettlement: # poll_ms: 5\n', 'null'])(
    'a file that says nothing (%j) changes nothing',
    yaml => {
      const defaults = load().config
      expect(load({ yaml }).config).toEqual(defaults)
    },
  )
})

describe('sources', () => {
  const yaml = 'settlement: { poll_ms: 2000 }'
  const env = { LEGWORK_SETTLEMENT_POLL_MS: '3000' }
  const flags = { 'settlement.poll_ms': '4000' }

  test.each<[string, Given, number]>([
    ['the file wins over the default', { yaml }, 2000],
    ['the environment wins over the file', { yaml, env }, 3000],
    ['a flag wins over the environment', { yaml, env, flags }, 4000],
    ['a flag wins over the file', { yaml, flags }, 4000],
    ['the environment wins over the default', { env }, 3000],
  ])('%s', (_, given, pollMs) => {
    expect(load(given).config.settlement.pollMs).toBe(pollMs)
  })

  test('a source changes only what it names', () => {
    const { server, settlement } = load({ yaml: 'server: { port: 0 }', env }).config
    expect(server).toEqual({ host: '127.0.0.1', port: 0 })
    expect(settlement).toMatchObject({ pollMs: 3000, leaseMs: 30000 })
  })

  test('a value at fault is told even where a later source overrides it', () => {
    expect(faultsOf({ yaml: 'server: { port: -1 }', flags: { 'server.port': '80' } })).toMatchObject([
      { setting: 'server.port', value: '-1', where: 'config.yaml:1:17' },
    ])
  })

  test('every setting is read from its variable', () => {
    const env = {
      LEGWORK_DATA_DIR: 'elsewhere',
      LEGWORK_SERVER_HOST: '::1',
      LEGWORK_SERVER_PORT: '0',
      LEGWORK_DATABASE_URL: 'postgresql://legwork:secret@db/legwork',
      LEGWORK_WALLET_URL: 'https://wallet.test',
      LEGWORK_WALLET_TOKEN: 'token',
      LEGWORK_WALLET_IDEMPOTENT: 'false',
      LEGWORK_ASSETS: '[{"code":"EUR","scale":2},{"code":"USD","scale":4}]',
      LEGWORK_MARKETS: '- { symbol: EUR/USD, tick_size: 0.01, lot_size: 0.01, taker_fee: "-0.0001" }',
      LEGWORK_SETTLEMENT_WORKER_POOL_SIZE: '1',
      LEGWORK_SETTLEMENT_QUEUE_CAPACITY: '2',
      LEGWORK_SETTLEMENT_RETRY_MAX_ATTEMPTS: '0',
      LEGWORK_SETTLEMENT_RETRY_BACKOFF_MS: '4',
      LEGWORK_SETTLEMENT_RETRY_MAX_BACKOFF_MS: '5',
      LEGWORK_SETTLEMENT_RETRY_JITTER: '0',
      LEGWORK_SETTLEMENT_UNDO_MAX_ATTEMPTS: '7',
      LEGWORK_SETTLEMENT_UNDO_BACKOFF_MS: '8',
      LEGWORK_SETTLEMENT_UNDO_SLOW_RETRY_MS: '9',
      LEGWORK_SETTLEMENT_TIMEOUT_MS: '99',
      LEGWORK_SETTLEMENT_LEASE_MS: '100',
      LEGWORK_SETTLEMENT_POLL_MS: '10',
      LEGWORK_SETTLEMENT_LEG_ORDER: 'debits-first',
      LEGWORK_SETTLEMENT_RAIL: 'saga',
      LEGWORK_SETTLEMENT_DEAD_LETTER_QUEUE_ENABLED: 'FALSE',
      LEGWORK_SETTLEMENT_FEE_USER_ID: 'ABCDEF00-0000-0000-0000-000000000009',
      LEGWORK_ADMIN_TOKEN: 'sixteen-or-longer',
    }
    const documented = describeSettings().flatMap(({ environment }) => (environment === null ? [] : [environment]))
    expect(Object.keys(env)).toEqual([...documented, 'LEGWORK_ADMIN_TOKEN'])

    const { config, warnings } = load({ env })
    expect(warnings).toEqual([])
    const [base, quote] = [
      { code: 'EUR', scale: 2 },
      { code: 'USD', scale: 4 },
    ]
    expect(config).toEqual({
      dataDir: join(folder, 'elsewhere'),
      server: { host: '::1', port: 0 },
      database: { url: 'postgresql://legwork:secret@db/legwork' },
      wallet: { url: 'https://wallet.test', token: 'token', idempotent: false },
      assets: [base, quote],
      markets: [
        {
          symbol: 'EUR/USD',
          base,
          quote,
          tickSize: '0.01',
          lotSize: '0.01',
          minNotional: '0',
          makerFee: '0',
          takerFee: '-0.0001',
          rounding: null,
        },
      ],
      settlement: {
        workerPoolSize: 1,
        queueCapacity: 2,
        retryMaxAttempts: 0,
        retryBackoffMs: 4,
        retryMaxBackoffMs: 5,
        retryJitter: 0,
        undoMaxAttempts: 7,
        undoBackoffMs: 8,
        undoSlowRetryMs: 9,
        timeoutMs: 99,
        leaseMs: 100,
        pollMs: 10,
        legOrder: 'debits-first',
        rail: 'saga',
        deadLetterQueueEnabled: false,
        feeUserId: 'abcdef00-0000-0000-0000-000000000009',
      },
      adminToken: 'sixteen-or-longer',
    })
  })

  test('a flag is named as it is typed', () => {
    const flagged = describeSettings().filter(({ flag }) => flag !== null)
    expect(flagged.map(({ path, flag }) => [flag, path])).toEqual([
      ['--data-dir', 'data_dir'],
      ['--host', 'server.host'],
      ['--port', 'server.port'],
      ['--database-url', 'database.url'],
      ['--wallet-url', 'wallet.url'],
      ['--rail', 'settlement.rail'],
    ])
    const flags = {
      data_dir: '',
      'server.host': 'a b',
      'server.port': '65536',
      'database.url': 'mysql://db',
      'wallet.url': 'ftp://wallet',
      'settlement.rail': 'fast',
    }
    expect(faultsOf({ flags }).map(({ setting, where }) => [where.replace('flag ', ''), setting])).toEqual(
      expect.arrayContaining(flagged.map(({ path, flag }) => [flag, path])),
    )
  })

  test('an unknown flag is a fault that names the nearest setting', () => {
    expect(messageOf({ flags: { 'server.prot': '1' } })).toBe(
      'flag server.prot: server.prot: not a known setting; the nearest known name is server.port',
    )
  })

  test('a data folder given in full stays as it is', () => {
    expect(load({ flags: { data_dir: '/var/lib/legwork' } }).config.dataDir).toBe('/var/lib/legwork')
  })

  test('null and nothing say null outside the file, and take back what the file says', () => {
    const yaml = 'database: { url: "postgres://db/legwork" }\nwallet: { url: "http://wallet" }'
    const { database, wallet } = load({
      yaml,
      env: { LEGWORK_DATABASE_URL: '' },
      flags: { 'wallet.url': 'null' },
    }).config
    expect([database.url, wallet.url]).toEqual([null, null])
  })
})

describe('the environment', () => {
  test('an unknown LEGWORK_ variable is a warning that names the nearest and never its value', () => {
    const env = { LEGWORK_SETLEMENT_POLL_MS: 'hunter2', LEGWORK_ADMIN_TOKN: 'hunter2', PATH: '/bin', LEGWORKS: '1' }
    const { warnings, config } = load({ env })
    expect(config.settlement.pollMs).toBe(1000)
    expect(warnings).toEqual([
      'environment variable LEGWORK_ADMIN_TOKN is not known and has no effect; the nearest is LEGWORK_ADMIN_TOKEN',
      'environment variable LEGWORK_SETLEMENT_POLL_MS is not known and has no effect; ' +
        'the nearest is LEGWORK_SETTLEMENT_POLL_MS',
    ])
  })

  test('a variable that is unset is no variable', () => {
    const { config, warnings } = load({ env: { LEGWORK_SERVER_PORT: undefined, LEGWORK_PORT: undefined } })
    expect([config.server.port, warnings]).toEqual([8080, []])
  })

  test('the admin token is no setting: a file can not hold it', () => {
    expect(faultsOf({ yaml: 'admin_token: sixteen-or-longer' })).toMatchObject([{ setting: 'admin_token' }])
  })

  test.each([
    ['', 'got nothing'],
    ['two words that are long', 'got ***'],
    ['tökéntökéntökén!', 'got ***'],
  ])('the admin token %j is refused, and not shown', (token, shown) => {
    expect(messageOf({ env: { LEGWORK_ADMIN_TOKEN: token } })).toBe(
      `environment variable LEGWORK_ADMIN_TOKEN: LEGWORK_ADMIN_TOKEN: not allowed (${shown}); ` +
        'allowed: printable ASCII without spaces, 1 to 512 characters',
    )
  })

  test('a short admin token is taken with a warning', () => {
    const { config, warnings } = load({ env: { LEGWORK_ADMIN_TOKEN: 'demo' } })
    expect(config.adminToken).toBe('demo')
    expect(warnings).toEqual([
      'environment variable LEGWORK_ADMIN_TOKEN is shorter than 16 characters; it can be guessed',
    ])
  })

  test('a list that is not YAML is told with its place in the text', () => {
    expect(faultsOf({ env: { LEGWORK_ASSETS: '[{ code: BTC, scale: 8 }' } })).toMatchObject([
      {
        setting: 'assets',
        where: expect.stringMatching(/^environment variable LEGWORK_ASSETS \(line 1, column \d+\)$/),
      },
    ])
  })

  test('a list of nothing is written [], and is not the empty text', () => {
    expect(load({ env: { LEGWORK_ASSETS: '[]', LEGWORK_MARKETS: '[]' } }).config).toMatchObject({
      assets: [],
      markets: [],
    })
    expect(faultsOf({ env: { LEGWORK_ASSETS: '' } })).toMatchObject([{ setting: 'assets', value: 'nothing' }])
  })
})

describe('values', () => {
  test.each([
    ['server: { port: 65536 }', 'server.port', '65536', 'a whole number, 0 to 65535'],
    ['server: { port: 80.5 }', 'server.port', '80.5', 'a whole number, 0 to 65535'],
    ['server: { port: 0x50 }', 'server.port', '0x50', 'a whole number, 0 to 65535'],
    ['server: { port: 080 }', 'server.port', '080', 'a whole number, 0 to 65535'],
    ['server: { port: "80" }', 'server.port', '"80"', 'a whole number, 0 to 65535'],
    ['server: { port: null }', 'server.port', 'null', 'a whole number, 0 to 65535'],
    ['server: { port: }', 'server.port', 'nothing', 'a whole number, 0 to 65535'],
    ['server: { port: [80] }', 'server.port', 'a list', 'a whole number, 0 to 65535'],
    ['server: { host: 127 }', 'server.host', '127', 'a host name or an address'],
    ['settlement: { retry_jitter: 1.1 }', 'settlement.retry_jitter', '1.1', 'a number, 0 to 1'],
    ['settlement: { retry_jitter: 1e-1 }', 'settlement.retry_jitter', '1e-1', 'a number, 0 to 1'],
    ['settlement: { retry_max_attempts: -1 }', 'settlement.retry_max_attempts', '-1', 'a whole number, 0 to 100'],
    ['settlement: { worker_pool_size: 0 }', 'settlement.worker_pool_size', '0', 'a whole number, 1 to 1000'],
    ['settlement: { rail: Saga }', 'settlement.rail', '"Saga"', 'auto, atomic, saga'],
    ['settlement: { leg_order: seller-first }', 'settlement.leg_order', '"seller-first"', 'buyer-first, debits-first'],
    ['settlement: { fee_user_id: 1-2-3 }', 'settlement.fee_user_id', '"1-2-3"', 'a UUID'],
    [
      'settlement: { dead_letter_queue_enabled: yes }',
      'settlement.dead_letter_queue_enabled',
      '"yes"',
      'true or false',
    ],
    ['wallet: { idempotent: 1 }', 'wallet.idempotent', '1', 'true or false'],
    [
      'wallet: { url: wallet:80 }',
      'wallet.url',
      '"wallet:80"',
      'http://… or https://…, without user name or password, or null',
    ],
    ['data_dir: ""', 'data_dir', '""', 'a path'],
    ['data_dir: true', 'data_dir', 'true', 'a path'],
    ['assets: { code: BTC }', 'assets', 'a mapping', 'a list of at most 1000: a mapping of code, scale'],
    ['assets: [BTC]', 'assets[0]', 'a text', 'a mapping of code, scale'],
  ])('%s is refused with setting, value, what is allowed and its place', (yaml, setting, value, allowed) => {
    const [fault, ...others] = faultsOf({ yaml })
    expect(others).toEqual([])
    expect(fault).toMatchObject({ setting, value, allowed, where: expect.stringMatching(/^config\.yaml:1:\d+$/) })
  })

  test('the message has all of it in one line, and a line for each fault', () => {
    const yaml = 'server:\n  port: 70000\nsettlement:\n  rail: fast\n'
    expect(
      messageOf({ yaml, env: { LEGWORK_SETTLEMENT_POLL_MS: 'soon' }, flags: { 'server.host': '' } }).split('\n'),
    ).toEqual([
      'environment variable LEGWORK_SETTLEMENT_POLL_MS: settlement.poll_ms: not allowed (got "soon"); ' +
        'allowed: a whole number, 10 to 600000',
      'config.yaml:4:9: settlement.rail: not allowed (got "fast"); allowed: auto, atomic, saga',
      'flag --host: server.host: not allowed (got nothing); allowed: a host name or an address',
      'config.yaml:2:9: server.port: not allowed (got 70000); allowed: a whole number, 0 to 65535',
    ])
  })

  test.each([
    ['server.port', '0', '65535', '65536'],
    ['settlement.worker_pool_size', '1', '1000', '1001'],
    ['settlement.retry_jitter', '0', '1.0', '1.01'],
  ])('both bounds of %s are taken, and what is above them is not', (path, least, most, above) => {
    expect([least, most, above].map(value => faultsOf({ flags: { [path]: value } }).length)).toEqual([0, 0, 1])
  })

  test('a wrong type says how to write the right one', () => {
    expect(faultsOf({ yaml: 'server: { host: 127, port: "80" }' }).map(({ problem }) => problem)).toEqual([
      'wrong type, a number; put it in quotes',
      'wrong type, a text; write it without quotes',
    ])
  })

  test.each([
    'postgres://legwork:secret@db.test:5432/legwork?sslmode=require',
    'postgresql://db/legwork',
    'postgres:///legwork?host=/var/run/postgresql',
    'postgres://legwork:secret@/legwork?host=%2Ftmp%2Fsocket',
  ])('the database may be at %s', url => {
    expect(load({ flags: { 'database.url': url } }).config.database.url).toBe(url)
  })

  test.each([
    'db',
    'mysql://u:hunter2@db/x',
    'postgres:db',
    'postgres://db/hunter2 x',
    `postgres://${'x'.repeat(4096)}`,
  ])('the database can not be at %s, and the value is not shown', url => {
    expect(faultsOf({ flags: { 'database.url': url } })).toMatchObject([{ setting: 'database.url', value: '***' }])
  })

  test.each([
    'http:wallet',
    'http://',
    'https://u:hunter2@wallet',
    'http://hunter2@wallet',
    'http://wallet/\nx',
    'file:///x',
  ])('the wallet can not be at %j, and no password is shown', url => {
    const message = messageOf({ env: { LEGWORK_WALLET_URL: url } })
    expect(message).toContain('wallet.url: not allowed')
    expect(message).not.toContain('hunter2')
  })

  test.each([
    ['wallet: { token: 123456 }', 'wrong type, a number; put it in quotes'],
    ['wallet: { token: "hunter2 hunter2" }', 'not allowed'],
  ])('a token at fault is not shown', (yaml, problem) => {
    expect(faultsOf({ yaml })).toMatchObject([{ setting: 'wallet.token', value: '***', problem }])
  })

  test('an address in the wrong place keeps its password to itself', () => {
    const message = messageOf({ env: { LEGWORK_SERVER_HOST: 'postgres://u:hunter2@db/x?password=hunter2' } })
    expect(message).toContain('got "***@db/x?***"')
  })

  test('a long value is cut, and one that moves the cursor is spelled out', () => {
    expect(faultsOf({ env: { LEGWORK_SERVER_HOST: `\u001b[2J${'é'.repeat(100)}` } })).toMatchObject([
      { value: `"\\u{1b}[2J${'é'.repeat(76)}…"` },
    ])
  })
})

test('the file that --config names is read instead of config.yaml', () => {
  writeFileSync(join(folder, 'other.json'), '{"server": {"port": 1234}}')
  const yaml = 'server: { host: localhost }'
  expect(load({ yaml, path: 'other.json' }).config.server).toEqual({ host: '127.0.0.1', port: 1234 })
})

describe('the lease', () => {
  test('one that ends no later than the timeout is refused, with both numbers and where they were written', () => {
    expect(faultsOf({ yaml: 'settlement:\n  timeout_ms: 6000\n  lease_ms: 6000\n' })).toEqual([
      {
        setting: 'settlement.lease_ms',
        value: '6000',
        problem: 'not above settlement.timeout_ms, which is 6000 (config.yaml:2:15)',
        allowed: 'a whole number above 6000',
        where: 'config.yaml:3:13',
      },
    ])
  })

  test('the default lease is refused under a longer timeout, which is what names the file', () => {
    expect(messageOf({ env: { LEGWORK_SETTLEMENT_TIMEOUT_MS: '30001' } })).toBe(
      'default: settlement.lease_ms: not above settlement.timeout_ms, which is 30001 ' +
        '(environment variable LEGWORK_SETTLEMENT_TIMEOUT_MS) (got 30000); allowed: a whole number above 30001',
    )
  })

  test('only the values in force are held against each other', () => {
    const yaml = 'settlement: { lease_ms: 1000 }'
    expect(load({ yaml, flags: { 'settlement.lease_ms': '5001' } }).config.settlement.leaseMs).toBe(5001)
    expect(faultsOf({ yaml: '', flags: { 'settlement.lease_ms': '5000' } })).toMatchObject([
      { value: '5000', where: 'flag settlement.lease_ms' },
    ])
  })

  test('with one of them at fault itself there is nothing to compare', () => {
    const yaml = 'settlement: { timeout_ms: 0, lease_ms: 100 }'
    expect(faultsOf({ yaml })).toMatchObject([{ setting: 'settlement.timeout_ms' }])
  })
})

describe('the reference', () => {
  test('describes each setting, and below a list the fields of its items', () => {
    const rows = describeSettings()
    expect(rows.find(({ path }) => path === 'database.url')).toEqual({
      path: 'database.url',
      environment: 'LEGWORK_DATABASE_URL',
      flag: '--database-url',
      type: 'text',
      allowed: 'postgres://… or postgresql://…, or null',
      fallback: 'null',
      isSecret: true,
      description: 'PostgreSQL to use; null for the embedded one in the data folder.',
    })
    const paths = rows.map(({ path }) => path)
    expect(paths.slice(paths.indexOf('assets'), paths.indexOf('assets') + 4)).toEqual([
      'assets',
      'assets[].code',
      'assets[].scale',
      'markets',
    ])
    expect(rows.filter(({ isSecret }) => isSecret).map(({ path }) => path)).toEqual(['database.url', 'wallet.token'])
  })
})
