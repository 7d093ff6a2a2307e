/** Level 3: all legs of a trade in one step. */

import { AT_ONCE } from './basic.ts'
import type { Answer } from './caller.ts'
import {
  at,
  expectApplied,
  expectRefused,
  expectReversal,
  expectThat,
  isInProgress,
  isSame,
  read,
  resultsOf,
} from './expect.ts'
import type { WalletPromise } from './promise.ts'
import { entriesOf, expectBalanced, lookUp } from './reading.ts'
import type { Settlement, Trial } from './trial.ts'

const LEVEL = { part: 'settlements', section: 'Level 3' } as const
const KEYS = { part: 'settlements', section: 'Common to all calls' } as const
/** A call with more is not sent: its size is what would be refused. */
const LARGEST = 10_000

export const SETTLEMENTS: readonly WalletPromise[] = [
  {
    ...LEVEL,
    name: 'a settlement moves all of its legs',
    run: async trial => {
      const trade = await fundedTrade(trial)
      expectSettled(await settled(trial, trade.settlement), trade.settlement, false)
      await trade.expectDone()
      expectBalanced(await trial.get('/v1/totals'))
    },
  },
  {
    ...KEYS,
    name: 'a settlement repeated under its key moves nothing: replayed',
    run: async trial => {
      const trade = await fundedTrade(trial)
      expectSettled(await settled(trial, trade.settlement), trade.settlement, false)
      expectSettled(await settled(trial, trade.settlement), trade.settlement, true)
      await trade.expectDone()
    },
  },
  {
    ...KEYS,
    name: 'the key of a settlement used again with other content is refused: IDEMPOTENCY_KEY_REUSED',
    run: async trial => {
      const payer = await trial.funded(100)
      const settlement = payment(trial, payer, trial.user(), 10)
      const { key, trade_id } = settlement
      expectSettled(await settled(trial, settlement), settlement, false)
      const others = [
        { ...payment(trial, payer, trial.user(), 10), key, trade_id },
        { ...payment(trial, payer, settlement.legs[1]?.user_id ?? '', 11), key, trade_id },
        { ...settlement, trade_id: trial.trade() },
      ]
      for (const other of others) expectRefused(await settled(trial, other), 422, 'IDEMPOTENCY_KEY_REUSED')
      expectRefused(await trial.send(trial.credit(payer, 10, { key })), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(payer, 90)
    },
  },
  {
    ...LEVEL,
    name: 'a settlement that one account can not pay moves nothing at all: INSUFFICIENT_BALANCE',
    run: async trial => {
      const { rich, legs } = await halfFunded(trial)
      for (const order of [legs, legs.toReversed()]) {
        const settlement = trial.settlement(...order)
        expectRefused(await settled(trial, settlement), 422, 'INSUFFICIENT_BALANCE')
        await trial.expectTotal(rich, 100)
        await expectNothing(trial, settlement)
      }
    },
  },
  {
    ...KEYS,
    name: 'a settlement that was refused for want of funds is refused again, also once there are funds',
    run: async trial => {
      const { rich, poor, legs } = await halfFunded(trial)
      const settlement = trial.settlement(...legs)
      expectRefused(await settled(trial, settlement), 422, 'INSUFFICIENT_BALANCE')
      await trial.deposit(poor, 100)
      expectRefused(await settled(trial, settlement), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(rich, 100)
      await trial.expectTotal(poor, 100)
    },
  },
  {
    ...LEVEL,
    name: 'a settlement with an unknown currency moves nothing at all: UNKNOWN_CURRENCY',
    run: async trial => {
      const payer = await trial.funded(100)
      const { legs } = payment(trial, payer, trial.user(), 10)
      const unknown = legs.map(leg => ({ ...leg, currency: trial.unknownCurrency, amount: '1' }))
      const settlement = trial.settlement(...legs, ...unknown.toReversed())
      expectRefused(await settled(trial, settlement), 422, 'UNKNOWN_CURRENCY')
      await trial.expectTotal(payer, 100)
      await expectNothing(trial, settlement)
    },
  },
  {
    ...LEVEL,
    name: 'legs that do not sum to zero in every currency are refused, and nothing moves: INVALID_REQUEST',
    run: async trial => {
      const payer = await trial.funded(100)
      const payee = trial.user()
      const wrong = [
        [trial.leg('debit', payer, 10), trial.leg('credit', payee, 9)],
        [trial.leg('debit', payer, 9), trial.leg('credit', payee, 10)],
        [trial.leg('debit', payer, 10)],
        [trial.leg('credit', payee, 10)],
        [],
      ]
      const { key } = trial.settlement()
      for (const legs of wrong) {
        expectRefused(await settled(trial, { ...trial.settlement(...legs), key }), 400, 'INVALID_REQUEST')
        await trial.expectTotal(payer, 100)
        await trial.expectTotal(payee, 0)
      }
      // Refused for itself, it has not spent the key.
      const right = { ...payment(trial, payer, payee, 10), key }
      expectSettled(await settled(trial, right), right, false)
    },
  },
  {
    ...LEVEL,
    name: 'funds are checked on the sum per account: what one leg brings another may take, in any order',
    run: async trial => {
      const [payer, middle, payee] = [await trial.funded(100), trial.user(), trial.user()]
      const settlement = trial.settlement(
        ...[trial.leg('debit', middle, 8), trial.leg('credit', payee, 8)],
        ...[trial.leg('debit', payer, 10), trial.leg('credit', middle, 10)],
      )
      expectSettled(await settled(trial, settlement), settlement, false)
      await trial.expectTotal(payer, 90)
      await trial.expectTotal(middle, 2)
      await trial.expectTotal(payee, 8)
      // Each leg alone could be paid, both together can't.
      const twice = trial.settlement(
        ...[trial.leg('debit', payee, 5), trial.leg('credit', payer, 5)],
        ...[trial.leg('debit', payee, 5), trial.leg('credit', middle, 5)],
      )
      expectRefused(await settled(trial, twice), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(payee, 8)
    },
  },
  {
    ...LEVEL,
    name: 'the settlements of a call are applied in order, and what is refused leaves the others be',
    run: async trial => {
      const [one, two, three] = [await trial.funded(10), trial.user(), trial.user()]
      const early = payment(trial, two, three, 10)
      const bring = payment(trial, one, two, 10)
      const uneven = trial.settlement(trial.leg('debit', two, 1))
      const malformed = { ...bring, key: trial.key(), legs: bring.legs.map(leg => ({ ...leg, amount: '1e3' })) }
      const pass = payment(trial, two, three, 10)
      const results = resultsOf(await trial.settle(early, bring, uneven, malformed, pass), 5)
      expectRefused(at(results, 0), 422, 'INSUFFICIENT_BALANCE')
      expectSettled(at(results, 1), bring, false)
      expectRefused(at(results, 2), 400, 'INVALID_REQUEST')
      expectRefused(at(results, 3), 400, 'INVALID_AMOUNT')
      expectSettled(at(results, 4), pass, false)
      await trial.expectTotal(one, 0)
      await trial.expectTotal(two, 0)
      await trial.expectTotal(three, 10)
    },
  },
  {
    ...LEVEL,
    name: 'a reversal of a settlement undoes all of its legs, and the settlement is REVERSED from then on',
    run: async trial => {
      const trade = await fundedTrade(trial)
      const { key } = trade.settlement
      expectSettled(await settled(trial, trade.settlement), trade.settlement, false)
      await lookUp(trial, key, 'applied')
      expectReversal(await trial.reverse(key), key, 'reversed', false)
      await trade.expectUndone()
      expectReversal(await trial.reverse(key), key, 'reversed', true)
      expectRefused(await settled(trial, trade.settlement), 409, 'REVERSED')
      await trade.expectUndone()
      await lookUp(trial, key, 'reversed')
    },
  },
  {
    ...LEVEL,
    name: 'a settlement that arrives after its reversal is refused, and moves nothing: REVERSED',
    run: async trial => {
      const trade = await fundedTrade(trial)
      const { key } = trade.settlement
      expectReversal(await trial.reverse(key), key, 'cancelled', false)
      expectRefused(await settled(trial, trade.settlement), 409, 'REVERSED')
      await trade.expectUndone()
    },
  },
  {
    ...LEVEL,
    name: 'a settlement whose money is spent in part is not undone in part: INSUFFICIENT_BALANCE',
    run: async trial => {
      const [payer, kept, spent] = [await trial.funded(100), trial.user(), trial.user()]
      const settlement = trial.settlement(
        ...[trial.leg('debit', payer, 20), trial.leg('credit', kept, 10), trial.leg('credit', spent, 10)],
      )
      expectSettled(await settled(trial, settlement), settlement, false)
      const spending = trial.debit(spent, 1)
      expectApplied(await trial.send(spending), spending)
      expectRefused(await trial.reverse(settlement.key), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(payer, 80)
      await trial.expectTotal(kept, 10)
      await trial.expectTotal(spent, 9)
    },
  },
  {
    ...LEVEL,
    name: 'of many calls at once with one settlement, one has effect',
    run: async trial => {
      const trade = await fundedTrade(trial)
      const calls = Array.from({ length: AT_ONCE }, () => settled(trial, trade.settlement))
      const told = (await Promise.all(calls)).filter(answer => !isInProgress(answer))
      for (const answer of told) expectSettled(answer, trade.settlement)
      const firsts = told.filter(answer => read(answer, 'replayed') === false).length
      const words = `one of ${AT_ONCE} answers with "replayed": false, not ${firsts}`
      expectThat(firsts === 1, words, told[0] as Answer)
      await trade.expectDone()
    },
  },
  {
    ...LEVEL,
    name: 'settlements at once never take more than an account has, and each is whole or not there',
    run: async trial => {
      const [payer, payee] = [await trial.funded(50), trial.user()]
      const settlements = Array.from({ length: AT_ONCE }, () => payment(trial, payer, payee, 10))
      const answers = await Promise.all(settlements.map(each => settled(trial, each)))
      const done = answers.filter(answer => read(answer, 'status') === 'settled')
      for (const answer of answers) {
        if (!done.includes(answer)) expectRefused(answer, 422, 'INSUFFICIENT_BALANCE')
      }
      const words = `5 of ${AT_ONCE} settlements at once of 10 from an account of 50 (in smallest units), not ${done.length}`
      expectThat(done.length === 5, words, await trial.balance(payer))
      await trial.expectTotal(payer, 0)
      await trial.expectTotal(payee, 50)
    },
  },
  {
    ...LEVEL,
    name: 'each leg of a settlement has an entry, numbered from 0 in the order of the legs',
    section: 'Reading back',
    run: async trial => {
      const { settlement } = await fundedTrade(trial)
      expectSettled(await settled(trial, settlement), settlement, false)
      const answer = await trial.get(`/v1/entries?trade_id=${settlement.trade_id}`)
      const entries = entriesOf(answer)
      expectThat(entries.length === settlement.legs.length, `${settlement.legs.length} entries`, answer)
      for (const [index, { user_id, currency, amount, type }] of settlement.legs.entries()) {
        const signed = type === 'debit' ? `-${amount}` : amount
        const exact = { leg: index, key: settlement.key, trade_id: settlement.trade_id, user_id, currency }
        const found = entries.find(entry => Reflect.get(entry, 'leg') === index) ?? {}
        const isRight = Object.entries(exact).every(([name, value]) => Reflect.get(found, name) === value)
        const words = `an entry with ${JSON.stringify({ ...exact, amount: signed })}`
        expectThat(isRight && isSame(Reflect.get(found, 'amount'), signed), words, answer)
      }
    },
  },
  {
    ...LEVEL,
    name: 'a call with more settlements than the capabilities say is refused whole: 413',
    run: async trial => {
      const max = trial.claims.settlementsMax
      if (max === null || max > LARGEST) return
      const payer = await trial.funded(10)
      const settlement = payment(trial, payer, trial.user(), 10)
      const answer = await trial.settle(...Array.from({ length: max + 1 }, () => settlement))
      expectThat(answer.status === 413, '413', { ...answer, sent: `POST /v1/settlements with ${max + 1} settlements` })
      await trial.expectTotal(payer, 10)
    },
  },
]

/** One settlement in a call of its own. */
export async function settled(trial: Trial, settlement: Settlement): Promise<Answer> {
  return at(resultsOf(await trial.settle(settlement), 1), 0)
}

/** @param replayed left out: either. */
export function expectSettled(answer: Answer, { key }: Settlement, replayed?: boolean): void {
  const isSettled = read(answer, 'status') === 'settled' && read(answer, 'key') === key
  const words = replayed === undefined ? '' : `, "replayed": ${replayed}`
  expectThat(
    isSettled && (replayed === undefined || read(answer, 'replayed') === replayed),
    `a result with "status": "settled"${words} and "key": "${key}"`,
    answer,
  )
}

export function payment(trial: Trial, payer: string, payee: string, units: number): Settlement {
  return trial.settlement(trial.leg('debit', payer, units), trial.leg('credit', payee, units))
}

/** The five legs of a trade: 50 of one currency for 10 of another, with a fee of 2 from what the seller gets. */
async function fundedTrade(trial: Trial) {
  const { other } = trial
  const [buyer, seller, fees] = [await trial.funded(50), await trial.funded(10, other), trial.user()]
  const settlement = trial.settlement(
    ...[trial.leg('debit', buyer, 50), trial.leg('credit', buyer, 10, other)],
    ...[trial.leg('debit', seller, 10, other), trial.leg('credit', seller, 48)],
    trial.leg('credit', fees, 2),
  )
  const isOne = other.code === trial.asset.code
  return {
    settlement,
    expectDone: async () => {
      await trial.expectTotal(buyer, isOne ? 10 : 0)
      await trial.expectTotal(seller, 48)
      await trial.expectTotal(fees, 2)
      if (!isOne) await trial.expectTotal(buyer, 10, other)
    },
    expectUndone: async () => {
      await trial.expectTotal(buyer, 50)
      await trial.expectTotal(seller, 10, other)
      await trial.expectTotal(fees, 0)
    },
  }
}

/** Legs of which those of one payer could be done, and those of the other not. */
async function halfFunded(trial: Trial) {
  const [rich, poor, payee] = [await trial.funded(100), trial.user(), trial.user()]
  const legs = [
    ...[trial.leg('debit', rich, 10), trial.leg('credit', payee, 10)],
    ...[trial.leg('debit', poor, 10), trial.leg('credit', payee, 10)],
  ]
  return { rich, poor, legs }
}

/** Nothing of a settlement that was refused is in the books: not on the accounts of those who were to be paid either. */
async function expectNothing(trial: Trial, { trade_id, legs }: Settlement): Promise<void> {
  const payee = legs.find(({ type }) => type === 'credit')?.user_id
  if (payee !== undefined) await trial.expectTotal(payee, 0)
  const answer = await trial.get(`/v1/entries?trade_id=${trade_id}`)
  expectThat(entriesOf(answer).length === 0, 'no entries of a settlement that was refused', answer)
}
