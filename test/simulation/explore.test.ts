import { afterAll, describe, expect, test } from 'vitest'
import type { LegName } from '../../src/core/legs.ts'
import type { Plan } from '../../src/core/settlement.ts'
import { type Exploration, explore } from './explore.ts'

const BUYER_FIRST: readonly LegName[] = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee']
const DEBITS_FIRST: readonly LegName[] = ['buyer-debit', 'seller-debit', 'buyer-credit', 'seller-credit', 'fee']
/** Enough legs for every rule there is: one to undo, one after it, and the fee. */
const THREE: readonly LegName[] = ['buyer-debit', 'seller-credit', 'fee']

const saga = (steps: readonly LegName[], undo: Plan['undo'], repeatable = true): Plan => ({
  rail: 'saga',
  steps,
  undo,
  repeatable,
})
const ATOMIC: Plan = { rail: 'atomic', steps: ['settlement'], undo: 'reversal', repeatable: true }
const alone = { workers: 1, requeues: 0, lateArrivals: false } as const

const FAILED = ['failed, rollback complete', 'failed, rollback not_needed']
const SETTLED = ['settled, fee none']
const FEE_PARKED = ['settled, fee parked']
const SAGA_ENDS = [...FAILED, ...SETTLED, ...FEE_PARKED]

const EXPLORATIONS: readonly (readonly [name: string, ends: readonly string[], exploration: Exploration])[] = [
  [
    'reversals, buyer first, retried by an operator',
    SAGA_ENDS,
    { ...alone, plan: saga(BUYER_FIRST, 'reversal'), requeues: 1 },
  ],
  ['reversals, debits first', SAGA_ENDS, { ...alone, plan: saga(DEBITS_FIRST, 'reversal') }],
  ['reversals, messages arrive late', SAGA_ENDS, { ...alone, plan: saga(THREE, 'reversal'), lateArrivals: true }],
  ['reversals, two workers at once', SAGA_ENDS, { ...alone, plan: saga(THREE, 'reversal'), workers: 2 }],
  ['no reversals, buyer first', SAGA_ENDS, { ...alone, plan: saga(BUYER_FIRST, 'opposite') }],
  ['no reversals, debits first', SAGA_ENDS, { ...alone, plan: saga(DEBITS_FIRST, 'opposite') }],
  ['no reversals, retried by an operator', SAGA_ENDS, { ...alone, plan: saga(BUYER_FIRST, 'opposite'), requeues: 1 }],
  [
    'a wallet that forgets keys',
    [...SAGA_ENDS, 'parked, rollback incomplete'],
    { ...alone, plan: saga(BUYER_FIRST, 'opposite', false) },
  ],
  [
    'atomic, two workers, late messages, retried by an operator',
    [...FAILED, ...SETTLED],
    { plan: ATOMIC, workers: 2, requeues: 1, lateArrivals: true },
  ],
]

describe('F-2 every state the settlement machine can reach keeps the invariants and can come to rest', () => {
  let states = 0
  afterAll(() => {
    process.stderr.write(`explored: ${states} states in all\n`)
  })

  test.each(EXPLORATIONS)('%s', (name, ends, exploration) => {
    const explored = explore(exploration)
    states += explored.states
    process.stderr.write(`explored: ${name}: ${explored.states} states, ${explored.transitions} transitions\n`)
    expect([...explored.ends].sort()).toEqual([...ends].sort())
  })
})
