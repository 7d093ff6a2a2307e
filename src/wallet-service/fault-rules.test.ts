import { expect, test } from 'vitest'
import { ConfigError } from '../config.ts'
import { readFaultRules } from './fault-rules.ts'

const read = (text: string) => readFaultRules(text, { source: 'file', name: 'faults.yaml' })
const faultsOf = (text: string): readonly string[] => {
  try {
    read(text)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
}

test('a rule is read with all that it can say', () => {
  const [rule] = read(`
rules:
  - call: [apply, reverse]
    trade_id: 0192F3A4-0000-7000-8000-000000000001
    leg: buyer-debit
    key: "0192f3a4*"
    attempt: [1, 3-4, 7-]
    percent: 12.5
    seed: 7
    from: 10
    until: 30s
    times: 2
    fault: status
    status: 503
    when: after
    body: none
`)
  expect(rule).toEqual({
    match: {
      calls: ['apply', 'reverse'],
      tradeId: '0192f3a4-0000-7000-8000-000000000001',
      legs: ['buyer-debit'],
      key: { text: '0192f3a4', isPrefix: true },
      attempts: [
        { from: 1, to: 1 },
        { from: 3, to: 4 },
        { from: 7, to: null },
      ],
      ...{ percent: 12.5, seed: 7, times: 2 },
      from: { unit: 'call', value: 10 },
      until: { unit: 'ms', value: 30_000 },
    },
    action: { fault: 'status', status: 503, when: 'after', body: 'none', code: null },
  })
})

test.each([
  ['{ fault: refuse, code: REVERSED }', { fault: 'refuse', code: 'REVERSED' }],
  ['{ fault: no_answer }', { fault: 'no_answer', when: 'before' }],
  ['{ fault: cut, when: within }', { fault: 'cut', when: 'within' }],
  ['{ fault: garbage, what: html }', { fault: 'garbage', what: 'html', when: 'before' }],
  ['{ fault: garbage, what: other_key }', { fault: 'garbage', what: 'other_key', when: 'after' }],
  ['{ fault: slow, ms: 5 }', { fault: 'slow', ms: 5, when: 'after' }],
  ['{ fault: retry_after }', { fault: 'retry_after', status: 503, seconds: 1, as: 'seconds', when: 'before' }],
  ['{ fault: late, ms: 5 }', { fault: 'late', ms: 5, answer: 'none' }],
  ['{ fault: late, after: reversal, answer: cut }', { fault: 'late', ms: null, answer: 'cut' }],
  ['{ fault: unauthorized }', { fault: 'unauthorized', status: 401 }],
  ['{ fault: close_port, ms: 0 }', { fault: 'close_port', ms: 0 }],
])('%s', (text, action) => {
  expect(read(`rules: [ ${text} ]`)[0]?.action).toEqual(action)
})

test('JSON is a script too, and no rules are one', () => {
  expect(read('{ "rules": [] }')).toEqual([])
  expect(read('{ "rules": [ { "fault": "cut", "percent": 20 } ] }')).toHaveLength(1)
})

test('all that is wrong is told at once, with its line and column', () => {
  expect(
    faultsOf(`rules:
  - { fault: cut, when: sideways }
  - fault: slow
    code: X
  - { attemp: 1, fault: no_answer }
  - { attempt: 3-1, from: soon, fault: late }
`),
  ).toEqual([
    expect.stringMatching(/^faults\.yaml:2:25: faults\.rules\[0\]\.when: not allowed \(got "sideways"\)/),
    expect.stringMatching(
      /^faults\.yaml:4:5: faults\.rules\[1\]\.code: says nothing to the fault slow; allowed: ms, when/,
    ),
    expect.stringMatching(/^faults\.yaml:3:5: faults\.rules\[1\]\.ms: missing: slow needs it/),
    expect.stringMatching(
      /^faults\.yaml:5:7: faults\.rules\[2\]\.attemp: .*nearest known name is faults\.rules\[2\]\.attempt/,
    ),
    expect.stringMatching(/^faults\.yaml:6:16: faults\.rules\[3\]\.attempt: not allowed/),
    expect.stringMatching(/^faults\.yaml:6:27: faults\.rules\[3\]\.from: not allowed/),
  ])
})

test.each([
  ['', 'empty'],
  ['rules: {}', 'wrong type'],
  ['rules: [ 7 ]', 'wrong type'],
  ['rules: [ { fault: explode } ]', 'not allowed'],
  ['rules: [ {} ]', 'missing'],
  ['rules: [ { fault: late } ]', 'late needs either ms or after'],
  ['rules: [ { fault: late, ms: 1, after: reversal } ]', 'late needs either ms or after'],
  ['rules: [ { fault: slow, ms: 1, when: within } ]', 'only a connection is cut within an answer'],
  ['rules: [ { fault: garbage, what: other_key, when: before } ]', 'after the effect'],
  ['rules: [ { fault: retry_after, status: 500 } ]', '429 or 503'],
  ['rules: [ { fault: unauthorized, status: 404 } ]', '401 or 403'],
  ['rules: [ { fault: status, status: 99 } ]', 'not allowed'],
  ['rules: [', 'not valid YAML'],
])('%s is refused', (text, problem) => {
  expect(faultsOf(text).join('\n')).toContain(problem)
})
