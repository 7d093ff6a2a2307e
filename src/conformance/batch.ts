/** Level 2: many operations in one call. */
import { AT_ONCE, expectOneFirst } from './basic.ts'
import { at, expectApplied, expectRefused, expectReversal, expectThat, isInProgress, resultsOf } from './expect.ts'
import type { WalletPromise } from './promise.ts'
import type { Item, Trial } from './trial.ts'

const LEVEL = { part: 'batch', section: 'Level 2' } as const
/** A batch of more is not sent: its size is what would be refused. */
const LARGEST = 10_000

export const BATCH: readonly WalletPromise[] = [
  {
    ...LEVEL,
    name: 'a batch is answered one for one and in order, each as it would be alone',
    run: async trial => {
      const [one, two] = [await trial.funded(100), trial.user()]
      const items = [trial.credit(one, 10), trial.debit(one, 4), trial.credit(two, 3), trial.debit(one, 6)]
      const results = resultsOf(await trial.batch(items), items.length)
      for (const [index, after] of [110, 106, 3, 100].entries()) {
        expectApplied(at(results, index), at(items, index), { replayed: false, balanceAfter: trial.text(after) })
      }
      await trial.expectTotal(one, 100)
      await trial.expectTotal(two, 3)
    },
  },
  {
    ...LEVEL,
    name: 'the order in a batch is kept: what a credit brings can be taken by the debit after it, not before it',
    run: async trial => {
      const user = trial.user()
      const rounds = Array.from({ length: 10 }, () => [trial.credit(user, 5), trial.debit(user, 5)])
      const items = [trial.debit(user, 5), ...rounds.flat()]
      const [early, ...results] = resultsOf(await trial.batch(items), items.length)
      if (early !== undefined) expectRefused(early, 422, 'INSUFFICIENT_BALANCE')
      for (const [index, result] of results.entries()) {
        const balanceAfter = trial.text(index % 2 === 0 ? 5 : 0)
        expectApplied(result, at(items, index + 1), { balanceAfter })
      }
      await trial.expectTotal(user, 0)
    },
  },
  {
    ...LEVEL,
    name: 'each in a batch stands alone: what is refused leaves the others be',
    run: async trial => {
      const user = await trial.funded(5)
      const items = [trial.debit(user, 6), trial.debit(user, 5), trial.debit(user, 1), trial.credit(user, 2)]
      const results = resultsOf(await trial.batch(items), items.length)
      expectRefused(at(results, 0), 422, 'INSUFFICIENT_BALANCE')
      expectApplied(at(results, 1), at(items, 1))
      expectRefused(at(results, 2), 422, 'INSUFFICIENT_BALANCE')
      expectApplied(at(results, 3), at(items, 3))
      await trial.expectTotal(user, 2)
    },
  },
  {
    ...LEVEL,
    name: 'a malformed operation refuses only itself',
    run: async trial => {
      const user = trial.user()
      const good = [trial.credit(user, 1), trial.credit(user, 2)]
      const [first, last] = [at(good, 0), at(good, 1)]
      const { key: _, ...withoutKey } = trial.credit(user, 4)
      const wrong: readonly (readonly [unknown, string])[] = [
        [withoutKey, 'IDEMPOTENCY_KEY_MISSING'],
        [{ ...trial.credit(user, 4), amount: '1e3' }, 'INVALID_AMOUNT'],
        [{ ...trial.credit(user, 4), type: 'gift' }, 'INVALID_REQUEST'],
        [{ ...trial.credit(user, 4), user_id: 'me' }, 'INVALID_REQUEST'],
        [{ ...trial.credit(user, 4), key: 'k'.repeat(129) }, 'INVALID_REQUEST'],
        ...[{}, null, 7, 'credit'].map(item => [item, ''] as const),
      ]
      const items = [first, ...wrong.map(([item]) => item), last]
      const results = resultsOf(await trial.batch(items), items.length)
      expectApplied(at(results, 0), first)
      for (const [index, [, code]] of wrong.entries()) {
        const result = at(results, index + 1)
        if (code === '') expectThat(result.status === 400, 'a refusal with the status 400', result)
        else expectRefused(result, 400, code)
      }
      expectApplied(at(results, items.length - 1), last)
      await trial.expectTotal(user, 3)
    },
  },
  {
    ...LEVEL,
    name: 'a key twice in a batch has one effect; with other content it is refused',
    run: async trial => {
      const item = trial.credit(trial.user(), 5)
      const items = [item, item, { ...item, amount: trial.text(6) }]
      const results = resultsOf(await trial.batch(items), items.length)
      expectApplied(at(results, 0), item, { replayed: false })
      // IN_PROGRESS is as good an answer to what follows so closely.
      if (!isInProgress(at(results, 1))) expectApplied(at(results, 1), item, { replayed: true })
      if (!isInProgress(at(results, 2))) expectRefused(at(results, 2), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(item.user_id, 5)
    },
  },
  {
    ...LEVEL,
    name: 'a key means the same inside a batch and outside',
    run: async trial => {
      const user = await trial.funded(100)
      const [alone, inside] = [trial.credit(user, 5), trial.debit(user, 3)]
      expectApplied(await trial.send(alone), alone)
      const results = resultsOf(await trial.batch([alone, inside]), 2)
      expectApplied(at(results, 0), alone, { replayed: true })
      expectApplied(at(results, 1), inside, { replayed: false })
      expectApplied(await trial.send(inside), inside, { replayed: true })
      expectRefused(await trial.send({ ...inside, amount: trial.text(4) }), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(user, 102)
    },
  },
  {
    ...LEVEL,
    name: 'a refusal in a batch is remembered',
    run: async trial => {
      const item = trial.debit(trial.user(), 5)
      expectRefused(at(resultsOf(await trial.batch([item]), 1), 0), 422, 'INSUFFICIENT_BALANCE')
      await trial.deposit(item.user_id, 10)
      expectRefused(at(resultsOf(await trial.batch([item]), 1), 0), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(item.user_id, 10)
    },
  },
  {
    ...LEVEL,
    name: 'a batch takes reversals, in its order',
    run: async trial => {
      const user = await trial.funded(100)
      const [done, late] = [trial.debit(user, 5), trial.credit(user, 7)]
      const reversal = (key: string) => ({ type: 'reversal', key, reason: 'SETTLEMENT_ROLLBACK' })
      const items = [done, reversal(done.key), done, reversal(late.key), late]
      const results = resultsOf(await trial.batch(items), items.length)
      expectApplied(at(results, 0), done)
      expectReversal(at(results, 1), done.key, 'reversed', false)
      expectRefused(at(results, 2), 409, 'REVERSED')
      expectReversal(at(results, 3), late.key, 'cancelled', false)
      expectRefused(at(results, 4), 409, 'REVERSED')
      await trial.expectTotal(user, 100)
    },
  },
  {
    ...LEVEL,
    name: 'of one batch sent many times at once, each operation has one effect',
    run: async trial => {
      const user = trial.user()
      const items = Array.from({ length: 5 }, () => trial.credit(user, 1))
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => trial.batch(items)))
      const all = answers.map(answer => resultsOf(answer, items.length))
      for (const [index, item] of items.entries()) {
        expectOneFirst(
          all.map(results => at(results, index)),
          item,
        )
      }
      await trial.expectTotal(user, items.length)
    },
  },
  {
    ...LEVEL,
    name: 'a batch of as many operations as the capabilities say is taken',
    run: async trial => {
      const max = trial.claims.batchMax
      if (max === null || max > LARGEST) return
      // One call over and over, so that it leaves one entry.
      const item = trial.credit(trial.user(), 1)
      const answer = await trial.batch(Array.from({ length: max }, () => item))
      const short = { ...answer, sent: `POST /v1/batch with ${max} operations` }
      for (const result of resultsOf(short, max)) if (!isInProgress(result)) expectApplied(result, item)
      await trial.expectTotal(item.user_id, 1)
    },
  },
  {
    ...LEVEL,
    name: 'a batch of more than the capabilities say is refused whole: 413',
    run: async trial => {
      const max = trial.claims.batchMax
      if (max === null || max > LARGEST) return
      const item = trial.credit(trial.user(), 1)
      await expectTooLarge(trial, item, max + 1)
    },
  },
  {
    ...LEVEL,
    name: 'a batch without a list of operations is refused: INVALID_REQUEST',
    run: async trial => {
      expectRefused(await trial.post('/v1/batch', {}), 400, 'INVALID_REQUEST')
      expectRefused(await trial.post('/v1/batch', { operations: 'all' }), 400, 'INVALID_REQUEST')
    },
  },
]

async function expectTooLarge(trial: Trial, item: Item, count: number): Promise<void> {
  const answer = await trial.batch(Array.from({ length: count }, () => item))
  const short = { ...answer, sent: `POST /v1/batch with ${count} operations` }
  expectThat(answer.status === 413, '413', short)
  await trial.expectTotal(item.user_id, 0)
}
