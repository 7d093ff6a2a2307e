import { describe, expect, test } from 'vitest'
import { createFaultBook } from './fault-book.ts'
import { callOf, type FaultAction, type FaultMatch, type WalletCall } from './rules.ts'

const TRADE = '0192f3a4-0000-7000-8000-000000000001'
const ANYTHING: FaultMatch = {
  ...{ calls: null, tradeId: null, legs: null, key: null, attempts: null },
  ...{ percent: null, seed: 1, from: null, until: null, times: null },
}
const REFUSE: FaultAction = { fault: 'refuse', code: 'INSUFFICIENT_BALANCE' }
const leg = (name: string): WalletCall => callOf('apply', `${TRADE}:0:${name}`, TRADE)
const bookOf = (match: Partial<FaultMatch>, action = REFUSE) =>
  createFaultBook([{ match: { ...ANYTHING, ...match }, action }], 1000)

describe('what a call is, by its key', () => {
  test.each([
    ['apply', `${TRADE}:0:buyer-debit`, null, { call: 'apply', tradeId: TRADE, leg: 'buyer-debit' }],
    ['apply', `${TRADE}:3:fee`, TRADE, { call: 'apply', tradeId: TRADE, leg: 'fee' }],
    ['apply', `${TRADE}:0:buyer-debit:undo`, null, { call: 'reverse', tradeId: TRADE, leg: 'buyer-debit' }],
    ['reverse', `${TRADE}:0:seller-credit`, null, { call: 'reverse', tradeId: TRADE, leg: 'seller-credit' }],
    ['settle', `${TRADE}:0`, null, { call: 'settle', tradeId: TRADE, leg: 'settlement' }],
    ['settle', 'mine', null, { call: 'settle', tradeId: null, leg: 'settlement' }],
    ['reverse', `${TRADE}:0`, null, { call: 'reverse', tradeId: TRADE, leg: 'settlement' }],
    ['apply', 'mine', TRADE, { call: 'apply', tradeId: TRADE, leg: null }],
    ['apply', `${TRADE}:0:tip`, null, { call: 'apply', tradeId: null, leg: null }],
  ] as const)('%s %s', (kind, key, tradeId, expected) => {
    expect(callOf(kind, key, tradeId)).toEqual({ key, ...expected })
  })
})

const UNDO = callOf('apply', `${TRADE}:0:fee:undo`, TRADE)
const WHOLE: WalletCall = { call: 'batch', key: '', tradeId: null, leg: null }
const FEE = leg('fee')

test.each<[string, Partial<FaultMatch>, WalletCall, boolean]>([
  ['nothing asked', {}, FEE, true],
  ['nothing asked, a whole call of many', {}, WHOLE, false],
  ['its kind', { calls: ['apply'] }, FEE, true],
  ['another kind', { calls: ['reverse', 'settle'] }, FEE, false],
  ['a whole call of many', { calls: ['batch'] }, WHOLE, true],
  ['an undo at level 0', { calls: ['reverse'] }, UNDO, true],
  ['its trade', { tradeId: TRADE }, FEE, true],
  ['another trade', { tradeId: TRADE.replace('1', '2') }, FEE, false],
  ['its leg', { legs: ['buyer-debit', 'fee'] }, FEE, true],
  ['another leg', { legs: ['buyer-debit'] }, FEE, false],
  ['a leg, of a foreign key', { legs: ['fee'] }, callOf('apply', 'mine', null), false],
  ['its key', { key: { text: FEE.key, isPrefix: false } }, FEE, true],
  ['another key', { key: { text: `${FEE.key}x`, isPrefix: false } }, FEE, false],
  ['its beginning', { key: { text: TRADE, isPrefix: true } }, FEE, true],
  ['the beginning alone', { key: { text: TRADE, isPrefix: false } }, FEE, false],
  ['none of it', { percent: 0 }, FEE, false],
  ['all of it', { percent: 100 }, FEE, true],
])('a rule for %s', (_, match, call, isMatch) => {
  expect(bookOf(match).decide(call, 1000) !== null).toBe(isMatch)
})

/** Which of ten calls of one key get the fault, 100 ms apart. */
function hits(match: Partial<FaultMatch>): readonly number[] {
  const book = bookOf(match)
  return Array.from({ length: 10 }, (_, at) => at + 1).filter(at => book.decide(FEE, 1000 + at * 100) !== null)
}

test.each<[string, Partial<FaultMatch>, readonly number[]]>([
  ['one attempt', { attempts: [{ from: 2, to: 2 }] }, [2]],
  [
    'attempts',
    {
      attempts: [
        { from: 1, to: 2 },
        { from: 9, to: null },
      ],
    },
    [1, 2, 9, 10],
  ],
  ['from a call on', { from: { unit: 'call', value: 8 } }, [8, 9, 10]],
  ['up to a call', { until: { unit: 'call', value: 3 } }, [1, 2, 3]],
  ['from a time on', { from: { unit: 'ms', value: 800 } }, [8, 9, 10]],
  ['until a time', { until: { unit: 'ms', value: 300 } }, [1, 2]],
  ['so many times', { attempts: [{ from: 3, to: null }], times: 2 }, [3, 4]],
])('a rule for %s', (_, match, expected) => {
  expect(hits(match)).toEqual(expected)
})

test('attempts are counted for each key and kind of call', () => {
  const book = bookOf({ attempts: [{ from: 2, to: 2 }] })
  const reversal = callOf('reverse', FEE.key, null)
  expect([FEE, reversal, leg('buyer-debit'), reversal, FEE].map(call => book.decide(call, 0)?.attempt)).toEqual([
    undefined,
    undefined,
    undefined,
    2,
    2,
  ])
})

test('a share is drawn by key and attempt: the same in each run, another by another seed, and about as large as asked', () => {
  const drawn = (seed: number): string => {
    const book = bookOf({ percent: 20, seed })
    const calls = Array.from({ length: 5000 }, (_, at) => callOf('apply', `key-${at >> 1}`, null))
    return calls.map(call => (book.decide(call, 0) === null ? '.' : '!')).join('')
  }
  expect(drawn(1)).toBe(drawn(1))
  expect(drawn(1)).not.toBe(drawn(2))
  expect(drawn(1).replaceAll('.', '').length / 5000).toBeCloseTo(0.2, 1)
})

test('the first rule that matches decides; two shares are drawn apart', () => {
  const rule = (code: string, percent: number | null) => ({
    match: { ...ANYTHING, percent },
    action: { fault: 'refuse', code } as const,
  })
  const book = createFaultBook([rule('A', 30), rule('B', 30), rule('C', null)], 0)
  const counts = [0, 0, 0]
  for (let at = 0; at < 3000; at++) {
    const { rule: index = 0 } = book.decide(callOf('apply', `k${at}`, null), 0) ?? {}
    counts[index] = (counts[index] ?? 0) + 1
  }
  expect(counts.map(count => Math.round(count / 300))).toEqual([3, 2, 5])
})

test('the log keeps the last ten thousand, and the counts all', () => {
  const book = bookOf({})
  for (let at = 0; at < 25_000; at++) book.decide(callOf('apply', `k${at}`, null), at)
  expect(book.log()).toHaveLength(10_000)
  expect(book.log().at(-1)).toMatchObject({ call: { key: 'k24999' }, attempt: 1, rule: 0, hasArrived: false })
  expect(book.counts()).toEqual({ calls: 25_000, applied: 25_000 })
})
