import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLineSplitter, MAX_LINE_BYTES } from './lines.ts'
import { createRecordReader } from './record-reader.ts'
import { type FileEvent, MAX_RECORD_LINES } from './rows.ts'

/** The events of a file with this content, and the same as short texts: `7: 28165 × 0.5`, `8! reason`. */
function read(content: string, market: string | null = 'BTC/USDT') {
  const splitter = createLineSplitter()
  const reader = createRecordReader({ path: 'trades.csv', format: 'auto', market })
  const bytes = Buffer.from(content)
  const events: FileEvent[] = []
  for (let at = 0; at < bytes.length; at += 50_000) {
    events.push(...reader.take(splitter.push(bytes.subarray(at, at + 50_000)), false))
  }
  events.push(...reader.take(splitter.rest(), true))
  return { events, texts: events.map(textOf) }
}

function textOf(event: FileEvent): string {
  if (event.kind === 'rejected') return `${event.line}! ${event.reason}`
  return `${event.trade.line}: ${event.trade.price} × ${event.trade.quantity}`
}

const header = 'price,qty,note,side\n'

describe('a row', () => {
  test('gives all that its columns hold', () => {
    const { events } = read(
      'trade_id,trade_ts_ms,event_ts_ms,price,qty,buyer_is_maker,symbol\n' +
        '3071245454,1680652799999,1680652800000,28165.47000000,0.00056000,true,ETH_USDT\n' +
        'ñ-1,,,2.5e3,1,,BTC/USDT\n,,,1,1,0,btc-usdt\n',
      null,
    )
    const trade = { line: 4, symbol: 'BTC/USDT', price: '1', quantity: '1', isBuyerMaker: false, venueId: null }
    expect(events).toEqual([
      {
        kind: 'trade',
        trade: {
          line: 2,
          symbol: 'ETH/USDT',
          price: '28165.47000000',
          quantity: '0.00056000',
          isBuyerMaker: true,
          venueId: '3071245454',
          executedAtMs: 1680652799999,
        },
      },
      {
        kind: 'trade',
        trade: { ...trade, line: 3, price: '2500', isBuyerMaker: null, venueId: 'ñ-1', executedAtMs: null },
      },
      { kind: 'trade', trade: { ...trade, executedAtMs: null } },
    ])
  })

  test("of the exchange's dump is read by its order", () => {
    const { events } = read('17,2.5,3,7.5,1680652799999,True,True\n18,2.5,3,7.5,1680652800000,False\n')
    const trade = { symbol: 'BTC/USDT', price: '2.5', quantity: '3' }
    expect(events).toEqual([
      { kind: 'trade', trade: { ...trade, line: 1, isBuyerMaker: true, venueId: '17', executedAtMs: 1680652799999 } },
      { kind: 'trade', trade: { ...trade, line: 2, isBuyerMaker: false, venueId: '18', executedAtMs: 1680652800000 } },
    ])
  })

  test('with a fault is reported and costs no other', () => {
    const { texts } = read(
      [
        'price,qty,is_buyer_maker,time,symbol',
        '1,1,true,1680652799,BTC/USDT',
        '2',
        '3,1,true',
        '4,1,true,1680652799,BTC/USDT,,',
        '5,000.5,1,true,1680652799,BTC/USDT',
        'abc,1,true,1680652799,BTC/USDT',
        '7,-1,true,1680652799,BTC/USDT',
        '8,1e500,true,1680652799,BTC/USDT',
        '9,,true,1680652799,BTC/USDT',
        '10,1,maybe,1680652799,BTC/USDT',
        '11,1,true,noon,BTC/USDT',
        '12,1,true,1680652799,ETH/USDT',
        '13,1,true,1680652799,BTCUSDT',
      ].join('\n'),
    )
    expect(texts).toEqual([
      '2: 1 × 1',
      '3! cut: 1 of 5 fields',
      '4! cut: 3 of 5 fields',
      '5: 4 × 1',
      '6! 6 fields, but 5 columns',
      '7! price "abc" is not a number',
      '8! quantity "-1" is not above zero',
      '9! quantity "1e500" has an exponent of more than two digits',
      '10! quantity is missing',
      '11! is_buyer_maker "maybe" is neither true nor false',
      '12! time "noon" is neither an RFC 3339 time nor seconds, ms, us or ns since 1970',
      '13! unknown symbol "ETH/USDT": the market is BTC/USDT',
      '14: 13 × 1',
    ])
  })

  test('may have a bad side', () => {
    expect(read(`${header}1,1,,up`).texts).toEqual(['2! side "up" is neither buy nor sell'])
  })
})

describe('quotes', () => {
  test('may hold delimiters, quotes and newlines; lines are counted as they stand', () => {
    const { texts } = read(
      `${header}"1","2","a ""b"", c",sell\r\n\r\n3,4,"one\r\ntwo, with commas, and\r\n\r\nthree",buy\r\n5,6,,buy\r\n`,
    )
    expect(texts).toEqual(['2: 1 × 2', '4: 3 × 4', '8: 5 × 6'])
  })

  test('may hold newlines in the first column', () => {
    expect(read('note,price,qty\n"a\nb",1,2\n"a,b\n,c\n",3,4\n').texts).toEqual(['2: 1 × 2', '4: 3 × 4'])
  })

  test.each([
    ['left open at the end', '3,4,x,"buy'],
    ['left open in the middle', '3,4,"x,buy'],
    ['left open at the start', '"3,4,x,buy'],
    ['closed twice', '3,4,"x"y",buy'],
    ['inside a field', '3,4,x"y,buy'],
  ])('%s cost their own line only', (_, damaged) => {
    for (const neighbour of ['5,6,x,buy', '"5","6","x","buy"', '5,6,"x",buy']) {
      const { texts } = read(`${header}1,2,x,buy\n${damaged}\n${neighbour}\n7,8,x,buy\n`)
      expect(texts).toEqual(['2: 1 × 2', expect.stringMatching(/^3! a quote/), '4: 5 × 6', '5: 7 × 8'])
    }
  })

  test('of two damaged lines never close each other, so no line between them is lost', () => {
    const damaged = ['3,4,x,"', '3,4,"x,buy', '"3,4,x,buy', '3,4,x"y,buy', '3,4,x,buy"', '3,4",x,buy', '3",4,x,buy']
    for (const first of damaged) {
      for (const second of damaged) {
        const { texts } = read(`${header}${first}\n${second}\n5,6,x,buy\n${first}\n7,8,x,buy\n${second}\n9,1,x,buy`)
        const lines = texts.map(text => text.replace(/!.*/, '!'))
        expect(lines).toEqual(['2!', '3!', '4: 5 × 6', '5!', '6: 7 × 8', '7!', '8: 9 × 1'])
      }
    }
  })

  test('left open are given up after so many lines or bytes, or at a line that was dropped', () => {
    const short = '\nx'.repeat(MAX_RECORD_LINES - 1)
    expect(read(`${header}1,2,"${short}",buy\n3,4,,buy`).texts).toEqual(['2: 1 × 2', '34: 3 × 4'])
    const tall = read(`${header}1,2,"${short}\nx",buy\n3,4,,buy`)
    expect(tall.texts[0]).toBe('2! a quote is not closed')
    expect(tall.texts.at(-1)).toBe('35: 3 × 4')
    const wide = read(`${header}1,2,"x\n${'x'.repeat(MAX_LINE_BYTES - 6)}",buy\n3,4,,buy`)
    expect(wide.texts).toEqual(['2! a quote is not closed', '3! a quote stands inside a field', '4: 3 × 4'])
    const dropped = read(`${header}1,2,"x\n${'x'.repeat(MAX_LINE_BYTES + 1)}\n3,4,,buy`)
    expect(dropped.texts).toEqual(['2! a quote is not closed', '3! the line has more than 65536 bytes', '4: 3 × 4'])
  })

  test('may span two pieces of the file', () => {
    const rows = Array.from({ length: 9000 }, (_, n) => `${n + 1},1,"a\nb",buy`)
    const { texts } = read(header + rows.join('\n'))
    expect(texts).toEqual(rows.map((_, n) => `${2 * n + 2}: ${n + 1} × 1`))
  })

  test('that are still open at the end of the file are reported', () => {
    expect(read(`${header}1,2,"x\n3,4,x,buy\n5,6,"x`).texts).toEqual([
      '2! a quote is not closed',
      '3: 3 × 4',
      '4! a quote is not closed',
    ])
  })
})

test('every good line survives whatever stands between', () => {
  const rubbish = fc.string({ unit: fc.constantFrom('"', ',', '1', '.', 'x', '\r', '\0', ' '), maxLength: 12 })
  const good = fc.constant(null)
  fc.assert(
    fc.property(fc.array(fc.oneof(rubbish, good), { minLength: 1, maxLength: 12 }), lines => {
      const isGood = (line: string | null): boolean => line === null
      const content = lines.map((line, n) => (isGood(line) ? `${n + 1},7,x,buy` : line)).join('\n')
      const { texts } = read(`${header}${content}\n1,1,,`)
      const expected = lines.flatMap((line, n) => (isGood(line) ? [`${n + 2}: ${n + 1} × 7`] : []))
      expect(texts).toEqual(expect.arrayContaining([...expected, `${lines.length + 2}: 1 × 1`]))
    }),
    { numRuns: 300 },
  )
})
