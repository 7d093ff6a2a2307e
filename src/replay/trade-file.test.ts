import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { MAX_LINE_BYTES } from './lines.ts'
import { type FileEvent, readTradeFile, surveyTradeFile, TradeFileError, type TradeFileOptions } from './trade-file.ts'

/** A folder for the files of a test; gone with the scope. */
async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'legwork-trade-file-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

/** All that comes of a file: the events as short texts (`7: 28165 × 0.5`, `8! reason`), and the error at the end. */
interface Outcome {
  readonly events: readonly FileEvent[]
  readonly texts: readonly string[]
  readonly error: TradeFileError | null
}

async function readAll(options: TradeFileOptions): Promise<Outcome> {
  const events: FileEvent[] = []
  let error: TradeFileError | null = null
  try {
    for await (const chunk of readTradeFile(options)) events.push(...chunk)
  } catch (thrown) {
    if (!(thrown instanceof TradeFileError)) throw thrown
    error = thrown
  }
  const texts = events.map(event =>
    event.kind === 'trade'
      ? `${event.trade.line}: ${event.trade.price} × ${event.trade.quantity}`
      : `${event.line}! ${event.reason}`,
  )
  return { events, texts, error }
}

/** What comes of a file with this content; of BTC/USDT and any format unless said otherwise. */
async function readContent(
  content: string | Buffer,
  options: Partial<Omit<TradeFileOptions, 'path'>> = {},
): Promise<Outcome> {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'trades.csv')
  await writeFile(path, content)
  return await readAll({ format: 'auto', market: 'BTC/USDT', ...options, path })
}

const header = 'price,qty\n'
const rows = (count: number): string =>
  Array.from({ length: count }, (_, n) => `${n + 1},${(n * 7919) % 1000}.5\n`).join('')
const trades = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, n) => `${n + 2}: ${n + 1} × ${(n * 7919) % 1000}.5`)

describe('a file', () => {
  test('is accepted with byte order mark, CRLF, blank lines and without a last newline', async () => {
    const { texts, error } = await readContent('\ufeff\r\n"price",qty\r\n\r\n1,2 \r\n  \r\n3,4')
    expect(texts).toEqual(['4: 1 × 2', '6: 3 × 4'])
    expect(error).toBeNull()
  })

  test('without a header may have a byte order mark too', async () => {
    const { events } = await readContent('\ufeff17,2.5,3,7.5,1680652799999,True\n')
    expect(events).toMatchObject([{ trade: { line: 1, venueId: '17' } }])
  })

  test('may use semicolons or tabs', async () => {
    expect((await readContent('price;qty\n1;2\n3,5;4\n')).texts).toEqual(['2: 1 × 2', '3! price "3,5" is not a number'])
    expect((await readContent('price\tqty\n1\t2\n')).texts).toEqual(['2: 1 × 2'])
  })

  test('comes in chunks, and is closed when nobody wants the rest', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'trades.csv')
    await writeFile(path, header + rows(100_000))
    const sizes: number[] = []
    for await (const events of readTradeFile({ path, format: 'auto', market: 'BTC/USDT' })) {
      sizes.push(events.length)
      if (sizes.length === 3) break
    }
    expect(Math.min(...sizes)).toBeGreaterThan(1000)
    expect(Math.max(...sizes)).toBeLessThan(20_000)
  })

  test('with a line that is too long loses this line only', async () => {
    const { texts } = await readContent(`${header}1,2\n${'9'.repeat(5 * MAX_LINE_BYTES)}\n3,4\n`)
    expect(texts).toEqual(['2: 1 × 2', '3! the line has more than 65536 bytes', '4: 3 × 4'])
    const dump = '17,2.5,3,7.5,1680652799999,True\n'
    expect((await readContent(`${'x'.repeat(MAX_LINE_BYTES + 1)}\n${dump}`, { format: 'binance' })).texts).toEqual([
      '1! the line has more than 65536 bytes',
      '2: 2.5 × 3',
    ])
  })
})

describe('a packed file', () => {
  test('is known by its content, in one member or several, with zeros after it', async () => {
    const text = header + rows(30_000)
    const [start, end] = [text.slice(0, 77_777), text.slice(77_777)]
    const members = Buffer.concat([gzipSync(start), gzipSync(''), gzipSync(end)])
    for (const packed of [gzipSync(text), members, Buffer.concat([gzipSync(text), Buffer.alloc(100_000)])]) {
      const { texts, error } = await readContent(packed)
      expect(texts).toEqual(trades(30_000))
      expect(error).toBeNull()
    }
  })

  test('that is cut gives all lines that can be unpacked, and then says so', async () => {
    // Stored, not deflated, so that the bytes of the file are those of the text.
    const packed = gzipSync(header + rows(20_000), { level: 0 })
    const { texts, error } = await readContent(packed.subarray(0, 150_003))
    const last = texts.at(-1) ?? ''
    expect(texts.slice(0, -1)).toEqual(trades(texts.length - 1))
    expect(last).toBe(`${texts.length + 1}! cut: the file ends in this line`)
    expect(texts.join('').length).toBeGreaterThan(100_000)
    expect(error).toMatchObject({ name: 'TradeFileError', code: 'FILE_CUT' })
    expect(error?.message).toMatch(
      new RegExp(`trades\\.csv is cut: its compressed data ends too early; ${texts.length} lines were read\\.$`),
    )
  })

  test('gives every prefix of its text, wherever it is cut', async () => {
    const packed = gzipSync(header + rows(40))
    let most = 0
    for (let length = 2; length < packed.length; length += 1) {
      const { texts, error } = await readContent(packed.subarray(0, length))
      const whole = texts.filter(text => !text.includes('!'))
      expect(whole).toEqual(trades(whole.length))
      expect(whole.length).toBeGreaterThanOrEqual(most)
      expect(error?.code).toBe('FILE_CUT')
      most = whole.length
    }
    expect(most).toBe(40)
  })

  test('that is damaged gives what comes before the damage, to the last byte', async () => {
    const text = header + rows(30_000)
    const packed = gzipSync(text)
    packed.writeUInt8(packed.readUInt8(packed.length - 8) ^ 1, packed.length - 8)
    const wrongSum = await readContent(packed)
    expect(wrongSum.texts).toEqual(trades(30_000))
    expect(wrongSum.error?.message).toMatch(/is cut: its compressed data is damaged; 30001 lines were read\.$/)

    const followed = Buffer.concat([gzipSync(text), Buffer.from('rubbish after it')])
    const garbage = await readContent(followed)
    expect(garbage.texts).toEqual(trades(30_000))
    expect(garbage.error?.code).toBe('FILE_CUT')

    const nothing = await readContent(Buffer.from('\x1f\x8bno gzip at all', 'latin1'))
    expect(nothing.texts).toEqual([])
    expect(nothing.error?.message).toMatch(/is cut: its compressed data is damaged; 0 lines were read\.$/)
  })
})

describe('a file that is no file of trades', () => {
  test.each([
    ['nothing', '', 'FILE_EMPTY', 'is empty.'],
    ['packed nothing', gzipSync(''), 'FILE_EMPTY', 'is empty.'],
    ['blank lines', '\n\n', 'FILE_EMPTY', 'holds no trades.'],
    ['only a header', 'price,qty\n', 'FILE_EMPTY', 'holds no trades.'],
    ['a header without a price', 'qty,side\n1,buy\n', 'COLUMNS_MISSING', 'has a header without a column price.'],
    ['text', 'Dear all,\n', 'COLUMNS_MISSING', 'has no header with the columns price and quantity.'],
    ['rubbish', Buffer.alloc(500_000, 7), 'COLUMNS_MISSING', 'has no header with the columns price and quantity.'],
    ['a zip archive', 'PK\x03\x04rest', 'FILE_UNREADABLE', 'is a zip archive: unpack it first.'],
  ])('because it holds %s is refused', async (_, content, code, ending) => {
    const { events, error } = await readContent(content)
    expect(events).toEqual([])
    expect(error?.code).toBe(code)
    expect(error?.message.endsWith(`trades.csv ${ending}`)).toBe(true)
  })

  test('is refused: no header for the format that needs one', async () => {
    const dump = '17,2.5,3,7.5,1680652799999,True\n'
    expect((await readContent(dump, { format: 'legwork' })).error?.code).toBe('COLUMNS_MISSING')
  })

  test('is refused: a market is needed unless a column names the symbol', async () => {
    const needed = await readContent(header + rows(1), { market: null })
    expect(needed.error).toMatchObject({ code: 'MARKET_NEEDED' })
    expect(needed.error?.message).toMatch(/has no column symbol: name its market with --market/)
    expect((await readContent('price,qty,pair\n1,2,BTC/USDT\n', { market: null })).texts).toEqual(['2: 1 × 2'])
  })

  test('is refused: missing, a folder, or not to be opened', async () => {
    await using folder = await temporaryFolder()
    const options = { format: 'auto', market: 'BTC/USDT' } as const
    const at = async (name: string) => (await readAll({ ...options, path: join(folder.path, name) })).error
    expect(await at('none.csv')).toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/^There is no file /),
    })
    await mkdir(join(folder.path, 'folder'))
    expect(await at('folder')).toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringMatching(/is a directory\.$/),
    })
    await symlink('loop', join(folder.path, 'loop'))
    expect(await at('loop')).toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringMatching(/can't be read \(ELOOP\)/),
    })
    await symlink('/dev/null', join(folder.path, 'device'))
    expect(await at('device')).toMatchObject({ message: expect.stringMatching(/is not a regular file\.$/) })
  })
})

describe('the survey', () => {
  const content =
    'price,qty,symbol\n1.50,2.000,BTC/USDT\n1.25000,3,BTC-USDT\nbad,1,BTC/USDT\n' +
    '7,1e-6,ETH/USDT\n7,0.0000000000000000001,ETH/USDT\n'

  test('counts places by value, of each market, and not those of texts that fit none', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'trades.csv')
    await writeFile(path, content)
    const survey = await surveyTradeFile({ path, format: 'auto', market: null })
    expect(survey).toMatchObject({ trades: 4, rejected: 1, isCut: false })
    expect([...survey.markets]).toEqual([
      ['BTC/USDT', { trades: 2, pricePlaces: 2, quantityPlaces: 0 }],
      ['ETH/USDT', { trades: 2, pricePlaces: 0, quantityPlaces: 6 }],
    ])
  })

  test('finds the same fingerprint in a text and in its packed forms, and another in any other text', async () => {
    await using folder = await temporaryFolder()
    const fingerprint = async (name: string, bytes: string | Buffer): Promise<string> => {
      const path = join(folder.path, name)
      await writeFile(path, bytes)
      return (await surveyTradeFile({ path, format: 'auto', market: 'BTC/USDT' })).fingerprint
    }
    const text = header + rows(20_000)
    const plain = await fingerprint('a.csv', text)
    expect(plain).toMatch(/^[0-9a-f]{64}$/)
    expect(await fingerprint('b.csv.gz', gzipSync(text))).toBe(plain)
    expect(await fingerprint('c', gzipSync(text, { level: 1 }))).toBe(plain)
    expect(await fingerprint('d.csv', text.replace('7,', '8,'))).not.toBe(plain)
  })

  test('of a cut file is that of its readable part, every time', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'trades.csv.gz')
    await writeFile(path, gzipSync(header + rows(50_000)).subarray(0, -1000))
    const options = { path, format: 'auto', market: 'BTC/USDT' } as const
    const survey = await surveyTradeFile(options)
    expect(survey.isCut).toBe(true)
    expect(survey.trades).toBeGreaterThan(40_000)
    for (let time = 0; time < 5; time += 1) expect(await surveyTradeFile(options)).toEqual(survey)
    const { events } = await readAll(options)
    expect(events.filter(event => event.kind === 'trade')).toHaveLength(survey.trades)
  })

  test('fails as reading does', async () => {
    const options = { path: '/nowhere/trades.csv', format: 'auto', market: null } as const
    await expect(surveyTradeFile(options)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})

/** Beside the checkout and not part of it; CI has it, a fresh clone does not. */
const realFiles = join(import.meta.dirname, '../../../shared/data')

describe.skipIf(!existsSync(realFiles))(
  'the recorded trades in ../shared/data (skipped where that folder is absent)',
  () => {
    test.each([
      ['binance-spot-btcusdt.csv.gz', 'BTC/USDT', 23_048, 2, 5],
      ['binance-spot-ethusdt.csv.gz', 'ETH/USDT', 14_515, 2, 4],
    ])('%s is read without a rejection', async (name, market, count, pricePlaces, quantityPlaces) => {
      const survey = await surveyTradeFile({ path: join(realFiles, name), format: 'auto', market })
      expect(survey).toMatchObject({ trades: count, rejected: 0, isCut: false })
      expect([...survey.markets]).toEqual([[market, { trades: count, pricePlaces, quantityPlaces }]])
    })
  },
)
