import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, processesIn, SEED, seededRandom, tradesCsv, type Workshop } from '../support/process.ts'

let shop: Workshop
let books: string

beforeAll(async () => {
  shop = await openWorkshop()
  books = shop.path('books')
})

afterAll(async () => {
  // Not one stack trace among all that was said.
  expect(shop.transcript()).not.toMatch(/^\s+at .*[(:]/m)
  expect(await processesIn(shop.folder)).toEqual([])
  await shop.close()
})

const GOOD = 'BTC/USDT,28000.10,0.5,true'

/** Broken lines and why, each to stand between two good ones. */
const BROKEN: readonly (readonly [line: string | Buffer, reason: string])[] = [
  ['BTC/USDT,28000.10', 'cut: 2 of 4 fields'],
  ['BTC/USDT,28000.10,0.5,true,', ''],
  ['BTC/USDT,28,000.10,0.5,true', '5 fields, but 4 columns'],
  ['BTC/USDT,abc,0.5,true', 'price "abc" is not a number'],
  ['BTC/USDT,-28000,0.5,true', 'price "-28000" is not above zero'],
  ['BTC/USDT,28000,0,true', 'quantity "0" is not above zero'],
  ['BTC/USDT,1e999,0.5,true', 'price "1e999" has an exponent of more than two digits'],
  ['BTC/USDT,1e37,10.5,true', 'price: price × quantity with its fees has over 38 digits'],
  ['BTC/USDT,28000.123456789,0.5,true', 'price: more than the 8 places of USDT'],
  [
    'BTC/USDT,28000.12345678,0.12345678,true',
    'quantity: price × quantity = 28000.12345678 × 0.12345678 does not fit the 8 places of USDT, and market BTC/USDT names no rounding rule',
  ],
  ['DOGE/CATS,28000,0.5,true', 'unknown symbol "DOGE/CATS": the market is BTC/USDT'],
  ['BTC/USDT,28"000,0.5,true', 'a quote stands inside a field'],
  ['"BTC/USDT,28000,0.5,true', 'a quote is not closed'],
  ['BTC/USDT,28\u{0}000,0.5,true', 'price "28\\u{0}000" is not a number'],
  [`BTC/USDT,${'1'.repeat(1024 * 1024)},0.5,true`, 'the line has more than 65536 bytes'],
  [Buffer.from('BTC/USDT,\xff\xfe28000,0.5,true', 'latin1'), 'price "\u{fffd}\u{fffd}28000" is not a number'],
  ['BTC/USDT,28000,0.5,perhaps', 'is_buyer_maker "perhaps" is neither true nor false'],
  // A blank line is none, and a quoted field may hold a newline: both count as physical lines.
  ['', ''],
  ['"BTC/USDT","28000.10\n","0.5","true"', ''],
]

async function writeBroken(name: string): Promise<{ readonly good: number; readonly errors: readonly unknown[] }> {
  const parts: (string | Buffer)[] = ['symbol,price,quantity,is_buyer_maker\r\n']
  const errors: unknown[] = []
  let good = 0
  let number = 2
  for (const [line, reason] of BROKEN) {
    parts.push(GOOD, '\n', line, '\n')
    good += 1
    if (reason !== '') errors.push({ file: name, line: number + 1, reason })
    else if (line !== '') good += 1
    number += 2 + (line.toString().split('\n').length - 1)
  }
  // The last line has no newline, and is no less of a line for it.
  parts.push('BTC/USDT,28000.10,0.')
  errors.push({ file: name, line: number, reason: 'cut: 3 of 4 fields' })
  await writeFile(shop.path(name), Buffer.concat(parts.map(part => Buffer.from(part))))
  return { good, errors }
}

const replay = (name: string, ...more: string[]) => shop.run(['replay', name, '--data-dir', books, '--json', ...more])

test('O-4 a broken line is told with its number, and costs no other line', async () => {
  const { good, errors } = await writeBroken('broken.csv')
  const { status, stdout, stderr } = await replay('broken.csv', '--market', 'BTC/USDT')
  expect(status).toBe(6)
  const result = JSON.parse(stdout)
  expect(result.errors).toEqual(errors)
  expect(result).toMatchObject({ trades: good, settled: good, failed: 0, rejected: errors.length, conserved: true })
  expect(stderr).toBe(result.errors.map(told).join(''))
})

interface Line {
  readonly file: string
  readonly line: number
  readonly reason: string
}

const told = ({ file, line, reason }: Line): string => `${file}:${line}: ${reason}\n`

test('--strict stops at the first broken line', async () => {
  const { status, stdout, stderr } = await replay('broken.csv', '--market', 'BTC/USDT', '--strict')
  expect(status).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({ trades: 1, settled: 1, rejected: 1 })
  expect(stderr).toBe(
    'broken.csv:3: cut: 2 of 4 fields\nlegwork: stopped at this line (--strict); none after it was taken\n',
  )
})

test('a packed file that is cut is settled as far as it can be read', async () => {
  const packed = await promisify(gzip)(tradesCsv(2000, seededRandom(SEED)))
  await writeFile(shop.path('cut.csv.gz'), packed.subarray(0, packed.length / 2))
  const { status, stdout, stderr } = await replay('cut.csv.gz', '--market', 'BTC/USDT')
  expect(status).toBe(1)
  const { trades, settled, rejected } = JSON.parse(stdout)
  expect(trades).toBeGreaterThan(500)
  expect({ settled, rejected }).toEqual({ settled: trades, rejected: 1 })
  expect(stderr).toContain(`cut.csv.gz:${trades + 2}: cut: the file ends in this line\n`)
  expect(stderr).toContain(
    `legwork: cut.csv.gz is cut: its compressed data ends too early; ${trades + 1} lines were read.`,
  )
})

type Refusal = readonly [args: readonly string[], status: number, message: RegExp | string]

/** What is wrong is seen before anything is made: there is no data folder, and nothing on standard output. */
async function expectRefused(refusals: readonly Refusal[]): Promise<void> {
  const untouched = shop.path('untouched')
  const ended = await Promise.all(refusals.map(async ([args]) => await shop.run([...args, '--data-dir', untouched])))
  expect(ended).toEqual(
    refusals.map(([, status, message]) => ({
      status,
      stdout: '',
      stderr: typeof message === 'string' ? message : expect.stringMatching(message),
    })),
  )
  expect(existsSync(untouched)).toBe(false)
}

test('a file that can not be read at all is told in one sentence', async () => {
  const garbage = Buffer.from(Array.from({ length: 5000 }, seededRandom(SEED)).map(share => share * 256))
  await Promise.all([
    writeFile(shop.path('empty.csv'), ''),
    writeFile(shop.path('header.csv'), 'price,quantity\n\n'),
    writeFile(shop.path('garbage.csv'), Buffer.concat([Buffer.from('~'), garbage])),
    writeFile(shop.path('nameless.csv'), tradesCsv(10, seededRandom(SEED))),
  ])
  const read = (name: string) => ['replay', name, '--market', 'BTC/USDT']
  const noSymbol = 'nameless.csv has no column symbol: name its market with --market, such as --market BTC/USDT.'
  await expectRefused([
    [read('nowhere.csv'), 3, 'legwork: There is no file nowhere.csv.\n'],
    [read('empty.csv'), 1, 'legwork: empty.csv is empty.\n'],
    [read('header.csv'), 1, 'legwork: header.csv holds no trades.\n'],
    [read('.'), 1, 'legwork: . is a directory.\n'],
    [read('garbage.csv'), 1, 'legwork: garbage.csv has no header with the columns price and quantity.\n'],
    [['replay', 'nameless.csv'], 2, `legwork: ${noSymbol}\n`],
  ])
})

test('wrong usage is told with where to look', async () => {
  const where = '(legwork replay --help shows what can be given)\n'
  await expectRefused([
    [['replay'], 2, `legwork: missing required argument 'file'\n${where}`],
    [['replay', 'a.csv', '--rails', 'saga'], 2, /^legwork: unknown option '--rails'\n\(Did you mean --rail\?\)/],
    [['replay', 'a.csv', '--rail', 'fast'], 2, /'fast' is invalid. Allowed choices are auto, atomic, saga/],
    [['replay', 'a.csv', '--users', '1'], 2, /It must be a whole number from 2 to 100000/],
    [['replay', 'a.csv', '--market', 'BTC'], 2, /It must be BASE\/QUOTE, such as BTC\/USDT/],
    [['verfy'], 2, /^legwork: unknown command 'verfy'\n\(Did you mean verify\?\)/],
  ])
  const nothing = await shop.run([])
  expect(nothing).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/^Usage: legwork /) })
  expect(await shop.run(['--help'])).toEqual({ status: 0, stderr: '', stdout: nothing.stderr })
})

test('S-1 a wrong configuration is told with file, line and column', async () => {
  await writeFile(shop.path('wrong.yaml'), 'settlement:\n  poll_ms: soon\n  lease_mss: 3\n')
  await writeFile(shop.path('elsewhere.yaml'), 'wallet: { url: "https://wallet.example" }\n')
  await writeFile(shop.path('uneven.yaml'), marketOfCents(''))
  await expectRefused([
    [['up', '--config', 'wrong.yaml'], 4, /^legwork: the configuration can't be used\n(.*\n){2}$/],
    [['up', '--config', 'wrong.yaml'], 4, /^wrong\.yaml:2:12: settlement\.poll_ms: .*"soon".*a whole number/m],
    [['up', '--config', 'wrong.yaml'], 4, /^wrong\.yaml:3:3: settlement\.lease_mss: .*settlement\.lease_ms/m],
    [['verify', '--config', 'nowhere.yaml'], 4, /nowhere\.yaml: there is no such file/],
    [['replay', 'broken.csv', '--config', 'elsewhere.yaml'], 4, /^legwork: wallet\.url: /],
    [['up', '--config', 'uneven.yaml'], 4, UNEVEN],
  ])
})

/** Ticks of two places and lots of three, of an asset with two. */
function marketOfCents(more: string): string {
  return `assets: [{ code: ETH, scale: 8 }, { code: EUR, scale: 2 }]
markets: [{ symbol: ETH/EUR, tick_size: "0.01", lot_size: "0.001"${more} }]
`
}

const UNEVEN =
  /^uneven\.yaml:2:\d+: .* price places 2 .* \+ quantity places 3 .* = 5, more than the 2 places of EUR; .* rounding rule/m

test('a market whose notionals do not fit its quote asset is taken when it says how it rounds', async () => {
  await writeFile(shop.path('rounded.yaml'), marketOfCents(', rounding: half_even'))
  await writeFile(shop.path('euros.csv'), 'price,quantity\n1999.99,0.333\n2000,0.5\n')
  const { status, stdout } = await replay('euros.csv', '--config', 'rounded.yaml', '--market', 'eth-eur')
  expect(status).toBe(0)
  expect(JSON.parse(stdout).volume).toEqual([{ symbol: 'ETH/EUR', trades: 2, quantity: '0.833', notional: '1666' }])
})

test('a database that does not answer is told with its address, and never its password', async () => {
  const mute = createServer()
  await new Promise<void>(resolve => mute.listen(0, '127.0.0.1', resolve))
  const address = mute.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const url = (at: string) => `postgres://legwork:hunter2hunter2@${at}/books`
  const silence = `legwork: the database books at 127.0.0.1:${port} can't be reached: no answer within 5 seconds\n`
  try {
    await expectRefused([
      [['verify', '--database-url', url(`127.0.0.1:${port}`)], 7, silence],
      [['verify', '--database-url', url('127.0.0.1:1')], 7, /books at 127\.0\.0\.1:1 can't be reached: .*ECONNREFUSED/],
      [['verify'], 3, /^legwork: there is no database in .*\/untouched\n$/],
    ])
  } finally {
    mute.close()
  }
  expect(shop.transcript()).not.toContain('hunter2')
})
