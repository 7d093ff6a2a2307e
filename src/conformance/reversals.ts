/** Level 1: undoing by key, and refusals that are remembered. */

import { AT_ONCE } from './basic.ts'
import type { Answer } from './caller.ts'
import { expectApplied, expectRefused, expectReversal, expectThat, isInProgress, read } from './expect.ts'
import type { WalletPromise } from './promise.ts'

const LEVEL = { part: 'reversals', section: 'Level 1' } as const
const MEMORY = { part: 'reversals', section: 'Common to all calls' } as const
const ROUNDS = 10

export const REVERSALS: readonly WalletPromise[] = [
  {
    ...LEVEL,
    name: 'a reversal takes back what its key has done, once, and says so again: replayed',
    run: async trial => {
      const user = await trial.funded(100)
      for (const item of [trial.credit(user, 10), trial.debit(user, 10)]) {
        expectApplied(await trial.send(item), item)
        expectReversal(await trial.reverse(item.key), item.key, 'reversed', false)
        await trial.expectTotal(user, 100)
        expectReversal(await trial.reverse(item.key), item.key, 'reversed', true)
        await trial.expectTotal(user, 100)
      }
    },
  },
  {
    ...LEVEL,
    name: 'a reversal of a key never seen cancels it, and says so again: replayed',
    run: async trial => {
      const key = trial.key()
      expectReversal(await trial.reverse(key), key, 'cancelled', false)
      expectReversal(await trial.reverse(key), key, 'cancelled', true)
    },
  },
  {
    ...LEVEL,
    name: 'an original that arrives after its reversal is refused, and moves nothing: REVERSED',
    run: async trial => {
      const user = await trial.funded(100)
      for (const item of [trial.credit(user, 10), trial.debit(user, 10)]) {
        await trial.reverse(item.key)
        expectRefused(await trial.send(item), 409, 'REVERSED')
        expectRefused(await trial.send(item), 409, 'REVERSED')
        await trial.expectTotal(user, 100)
      }
    },
  },
  {
    ...LEVEL,
    name: 'a call repeated after its reversal is refused, whatever its content: REVERSED',
    run: async trial => {
      const user = await trial.funded(100)
      for (const item of [trial.credit(user, 10), trial.debit(user, 10)]) {
        expectApplied(await trial.send(item), item)
        await trial.reverse(item.key)
        expectRefused(await trial.send(item), 409, 'REVERSED')
        expectRefused(await trial.send({ ...item, amount: trial.text(11) }), 409, 'REVERSED')
      }
      await trial.expectTotal(user, 100)
    },
  },
  {
    ...MEMORY,
    name: 'a refusal for want of funds is remembered: the key is spent, also once there are funds',
    run: async trial => {
      const user = await trial.funded(5)
      const item = trial.debit(user, 10)
      expectRefused(await trial.send(item), 422, 'INSUFFICIENT_BALANCE')
      await trial.deposit(user, 100)
      expectRefused(await trial.send(item), 422, 'INSUFFICIENT_BALANCE')
      expectRefused(await trial.send({ ...item, amount: trial.text(1) }), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(user, 105)
    },
  },
  {
    ...MEMORY,
    name: 'a refusal for an unknown currency is remembered, too',
    run: async trial => {
      const item = trial.credit(trial.user(), 1)
      const unknown = { ...item, currency: trial.unknownCurrency, amount: '1' }
      expectRefused(await trial.send(unknown), 422, 'UNKNOWN_CURRENCY')
      expectRefused(await trial.send(unknown), 422, 'UNKNOWN_CURRENCY')
      expectRefused(await trial.send(item), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(item.user_id, 0)
    },
  },
  {
    ...LEVEL,
    name: 'a reversal of a refused call cancels it; then there may be funds, and it is REVERSED',
    run: async trial => {
      const item = trial.debit(trial.user(), 10)
      expectRefused(await trial.send(item), 422, 'INSUFFICIENT_BALANCE')
      expectReversal(await trial.reverse(item.key), item.key, 'cancelled', false)
      await trial.deposit(item.user_id, 100)
      expectRefused(await trial.send(item), 409, 'REVERSED')
      await trial.expectTotal(item.user_id, 100)
    },
  },
  {
    ...LEVEL,
    name: 'a reversal of a credit that is spent is refused, and nothing is changed: INSUFFICIENT_BALANCE',
    run: async trial => {
      const item = trial.credit(trial.user(), 10)
      const spent = trial.debit(item.user_id, 8)
      expectApplied(await trial.send(item), item)
      expectApplied(await trial.send(spent), spent)
      expectRefused(await trial.reverse(item.key), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(item.user_id, 2)
      expectApplied(await trial.send(item), item, { replayed: true })
    },
  },
  {
    ...MEMORY,
    name: 'the refusal of a reversal is not remembered: it succeeds once the money is there again',
    run: async trial => {
      const item = trial.credit(trial.user(), 10)
      const spent = trial.debit(item.user_id, 8)
      expectApplied(await trial.send(item), item)
      expectApplied(await trial.send(spent), spent)
      expectRefused(await trial.reverse(item.key), 422, 'INSUFFICIENT_BALANCE')
      await trial.deposit(item.user_id, 10)
      expectReversal(await trial.reverse(item.key), item.key, 'reversed', false)
      await trial.expectTotal(item.user_id, 2)
    },
  },
  {
    ...LEVEL,
    name: 'of many reversals at once of one key, one has effect',
    run: async trial => {
      const user = await trial.funded(100)
      const item = trial.debit(user, 10)
      expectApplied(await trial.send(item), item)
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => trial.reverse(item.key)))
      await trial.expectTotal(user, 100)
      const told = answers.filter(answer => !isInProgress(answer))
      for (const answer of told) {
        const isReversed = answer.status === 200 && read(answer, 'status') === 'reversed'
        expectThat(isReversed, '200 with "status": "reversed"', answer)
      }
      const firsts = told.filter(answer => read(answer, 'replayed') === false).length
      const words = `one of ${AT_ONCE} answers with "replayed": false, not ${firsts}`
      expectThat(firsts === 1, words, answers[0] as Answer)
    },
  },
  {
    ...LEVEL,
    name: 'a call and its reversal at once leave nothing behind, whichever comes first',
    run: async trial => {
      const user = await trial.funded(100)
      for (let round = 0; round < ROUNDS; round++) {
        const item = round % 2 === 0 ? trial.credit(user, 10) : trial.debit(user, 10)
        const both = [() => trial.send(item), () => trial.reverse(item.key)]
        const answers = await Promise.all((round % 4 < 2 ? both : both.toReversed()).map(call => call()))
        // Where the reversal found the call under way it was not taken: it is asked for again, as a client would.
        if (answers.some(isInProgress)) await trial.reverse(item.key)
        await trial.expectTotal(user, 100)
        expectRefused(await trial.send(item), 409, 'REVERSED')
      }
    },
  },
  {
    ...LEVEL,
    name: 'a reversal without a key is refused, and undoes nothing',
    run: async trial => {
      const answer = await trial.post('/v1/reversals', { reason: 'SETTLEMENT_ROLLBACK' })
      expectThat(answer.status === 400, '400', answer)
    },
  },
]
