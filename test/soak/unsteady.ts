/**
 * A wallet that answers a fifth of all calls wrongly, in every way that docs/faults.md knows, while trades settle; then it
 * recovers, and what failed meanwhile is retried by one command.
 */
import assert from 'node:assert/strict'
import type { UpServer, Workshop } from '../support/process.ts'
import { type Audit, audit } from '../support/wallet-audit.ts'
import {
  atRest,
  fund,
  handIn,
  type Level,
  openMemoryWallet,
  openServe,
  type Rule,
  read,
  settings,
  tradesAmong,
  uuid,
} from '../support/wallet-rig.ts'

export interface UnsteadyOptions {
  readonly level: Level
  readonly trades: number
  readonly seed: number
}

export interface UnsteadyResult extends UnsteadyOptions {
  readonly campaign: 'unsteady'
  readonly seconds: number
  readonly calls: number
  readonly faults: number
  readonly settled: number
  readonly refused: number
  readonly given_up: number
  /** Of the calls that went wrong and were not refused: how many were applied in the end. */
  readonly resolved_percent: number
  readonly settled_after_retry: number
  readonly fees_after_retry: number
}

const USERS = Array.from({ length: 40 }, (_, at) => uuid('a', at))
/** As users have them but for the times: seconds would make hours of it. */
const SETTINGS = settings({
  retry_backoff_ms: 50,
  retry_max_backoff_ms: 1000,
  undo_backoff_ms: 50,
  undo_slow_retry_ms: 500,
  poll_ms: 50,
  timeout_ms: 1500,
  lease_ms: 5000,
})

/** What goes wrong with one call, alone or in a batch, and how often in a hundred. */
const OF_CALLS: readonly (readonly [percent: number, Rule])[] = [
  // Only at first: no wallet refuses a key that it has applied.
  [1, { fault: 'refuse', code: 'INSUFFICIENT_BALANCE', attempt: 1 }],
  [1.5, { fault: 'status', status: 500 }],
  [1.5, { fault: 'status', status: 500, when: 'after' }],
  [1, { fault: 'status', status: 503, body: 'html' }],
  [1, { fault: 'status', status: 502, body: 'none', when: 'after' }],
  [0.5, { fault: 'status', status: 408, when: 'after' }],
  [0.5, { fault: 'status', status: 409, code: 'IN_PROGRESS' }],
  [0.5, { fault: 'status', status: 302, body: 'none' }],
  [1, { fault: 'status', status: 429 }],
  [0.5, { fault: 'retry_after', status: 503, seconds: 1 }],
  [0.5, { fault: 'retry_after', status: 429, seconds: 1, as: 'date' }],
  [0.5, { fault: 'retry_after', status: 503, as: 'nonsense', when: 'after' }],
  [1, { fault: 'late', ms: 300, answer: 'gateway_timeout' }],
  [0.5, { fault: 'late', after: 'reversal', answer: 'gateway_timeout' }],
  [0.7, { fault: 'garbage', what: 'other_key' }],
  [0.7, { fault: 'garbage', what: 'other_account' }],
  [0.7, { fault: 'garbage', what: 'other_amount' }],
]
/** What goes wrong with a whole request, whatever is in it, and with all that follow it on its connection. */
const OF_REQUESTS: readonly (readonly [percent: number, Rule])[] = [
  [1, { fault: 'slow', ms: 100, when: 'before' }],
  [1, { fault: 'slow', ms: 100, when: 'after' }],
  [0.5, { fault: 'status', status: 404, body: 'html', when: 'after' }],
  [0.4, { fault: 'no_answer' }],
  [0.4, { fault: 'no_answer', when: 'after' }],
  [0.7, { fault: 'cut' }],
  [0.7, { fault: 'cut', when: 'after' }],
  [0.7, { fault: 'cut', when: 'within' }],
  [0.7, { fault: 'garbage', what: 'bytes' }],
  [0.7, { fault: 'garbage', what: 'html', when: 'after' }],
  [0.05, { fault: 'garbage', what: 'too_large', when: 'after' }],
]
/** Each at a call of its own, since it falls on all that there is. */
const OF_ALL: readonly Rule[] = [
  { from: 100, times: 1, fault: 'close_port', ms: 300 },
  { from: 300, times: 1, fault: 'unauthorized', status: 403 },
  { from: 500, times: 1, fault: 'close_port', ms: 300 },
]

function scriptOf({ level, seed }: UnsteadyOptions): readonly Rule[] {
  const isTogether = level === 'batch' || level === 'settlements'
  // At level 0 a refusal is not remembered, and a call that comes late after two refusals is the risk that the docs name.
  const ofCalls = OF_CALLS.filter(([, { fault }]) => level !== 'basic' || fault !== 'late')
  return [
    ...OF_ALL,
    ...ofCalls.map(([percent, rule]) => ({ ...rule, percent, seed })),
    // Of a hundred calls in a request the same share would hit every request.
    ...OF_REQUESTS.map(([percent, rule]) => ({ ...rule, ...(isTogether ? { call: 'batch' } : {}), percent, seed })),
  ]
}

export async function unsteady(shop: Workshop, options: UnsteadyOptions): Promise<UnsteadyResult> {
  const { level, trades: count, seed } = options
  const wallet = await openMemoryWallet(shop, level)
  await fund(wallet, USERS)
  const server = await openServe(shop, wallet, ['--data-dir', shop.path(`unsteady-${level}-${seed}`)], SETTINGS)
  const trades = tradesAmong(USERS, seed * 100_000, count)
  await wallet.faults(scriptOf(options))
  const beganMs = performance.now()
  await handIn(server, trades)
  const { settled } = await atRest(server, count, 300_000)
  const seconds = (performance.now() - beganMs) / 1000
  const script = await read<{ readonly calls: number; readonly applied: number }>(wallet, '/v1/faults')
  const meanwhile = await audit(server, wallet, trades)
  const { legsRetried, givenUp, refused } = countedIn(meanwhile, level)

  await wallet.faults()
  const retry = [
    'dead-letters',
    'retry',
    '--all',
    '--reason',
    'the wallet is well again',
    '--json',
    '--url',
    server.url,
  ]
  const { status, stdout, stderr } = await shop.run(retry)
  assert.equal(status, 0, stdout + stderr)
  const summary: Readonly<Record<string, number>> = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  const { settled: settledInTheEnd, dead_letters: left } = await atRest(server, count)
  assert.deepEqual([settledInTheEnd, left], [count, 0])
  await audit(server, wallet, trades)
  await stop(server)
  return {
    campaign: 'unsteady',
    ...options,
    seconds: Math.round(seconds * 10) / 10,
    calls: script.calls,
    faults: script.applied,
    settled,
    refused,
    given_up: givenUp,
    resolved_percent: Math.round((1 - givenUp / Math.max(legsRetried, 1)) * 10_000) / 100,
    settled_after_retry: summary['settled'] ?? 0,
    fees_after_retry: summary['collected'] ?? 0,
  }
}

async function stop(server: UpServer): Promise<void> {
  server.signal('SIGTERM')
  assert.equal((await server.ended).status, 0)
}

/** On the atomic rail the legs share one call. */
function countedIn({ seen, letters }: Audit, level: Level) {
  const legsRetried = seen
    .map(({ legs }) => legs.filter(({ attempts }) => attempts > 1).length)
    .map(many => (level === 'settlements' ? Math.min(many, 1) : many))
    .reduce((sum, many) => sum + many, 0)
  const refused = letters.filter(({ code }) => code === 'INSUFFICIENT_BALANCE').length
  return { legsRetried, refused, givenUp: letters.length - refused }
}
