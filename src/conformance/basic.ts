/** Level 0: debit, credit, balance, and that a key moves money once. */
import type { Answer } from './caller.ts'
import {
  BrokenPromiseError,
  expectApplied,
  expectRefused,
  expectThat,
  isInProgress,
  isSame,
  isText,
  read,
} from './expect.ts'
import type { WalletPromise } from './promise.ts'
import type { Item } from './trial.ts'

const LEVEL = { part: 'basic', section: 'Level 0' } as const
const KEYS = { part: 'basic', section: 'Common to all calls' } as const

export const AT_ONCE = 20
/** One more than a double can tell from its neighbours. */
const BEYOND_DOUBLES = 2n ** 53n + 1n

export const BASIC: readonly WalletPromise[] = [
  {
    ...LEVEL,
    name: 'an account that was never used holds zeros',
    run: async trial => {
      const user = trial.user()
      const answer = await trial.balance(user)
      const zeros = ['available', 'held', 'total'].every(name => isSame(read(answer, name), '0'))
      const isOf = read(answer, 'user_id') === user && read(answer, 'currency') === trial.asset.code
      const expected = `200 with available, held and total "0", for this user_id in ${trial.asset.code}`
      expectThat(answer.status === 200 && zeros && isOf, expected, answer)
    },
  },
  {
    ...LEVEL,
    name: 'an unknown currency is refused: UNKNOWN_CURRENCY',
    run: async trial => {
      const currency = trial.unknownCurrency
      const user = trial.user()
      expectRefused(await trial.get(`/v1/balances/${user}/${currency}`), 422, 'UNKNOWN_CURRENCY')
      expectRefused(await trial.send(trial.credit(user, 1, { currency, amount: '1' })), 422, 'UNKNOWN_CURRENCY')
      expectRefused(await trial.send(trial.debit(user, 1, { currency, amount: '1' })), 422, 'UNKNOWN_CURRENCY')
    },
  },
  {
    ...LEVEL,
    name: 'what was done is answered 201 with all that was asked, the status and the time',
    run: async trial => {
      const user = trial.user()
      for (const item of [trial.credit(user, 5), trial.debit(user, 5)]) {
        const answer = await trial.send(item)
        expectApplied(answer, item, { replayed: false })
        expectThat(answer.status === 201, '201, since it was done just now', answer)
        expectEcho(answer, item)
      }
    },
  },
  {
    ...LEVEL,
    name: 'credits add, debits take, and each tells the total after it',
    run: async trial => {
      const user = trial.user()
      const steps = [
        [trial.credit(user, 10), 10],
        [trial.credit(user, 5), 15],
        [trial.debit(user, 12), 3],
        [trial.debit(user, 3), 0],
        [trial.credit(user, 1), 1],
      ] as const
      for (const [item, after] of steps) {
        expectApplied(await trial.send(item), item, { balanceAfter: trial.text(after) })
        await trial.expectTotal(user, after)
      }
    },
  },
  {
    ...LEVEL,
    name: 'a debit of more than is available is refused with available and required, and moves nothing',
    run: async trial => {
      const user = await trial.funded(5)
      const answer = await trial.send(trial.debit(user, 6))
      expectRefused(answer, 422, 'INSUFFICIENT_BALANCE')
      const isTold = isSame(read(answer, 'available'), trial.text(5)) && isSame(read(answer, 'required'), trial.text(6))
      expectThat(isTold, `"available": "${trial.text(5)}" and "required": "${trial.text(6)}"`, answer)
      expectRefused(await trial.send(trial.debit(trial.user(), 1)), 422, 'INSUFFICIENT_BALANCE')
      await trial.expectTotal(user, 5)
    },
  },
  {
    ...LEVEL,
    name: 'users and currencies have accounts of their own',
    run: async trial => {
      const { asset, other } = trial
      const [one, two] = [await trial.funded(5), await trial.funded(3)]
      await trial.expectTotal(one, 5)
      await trial.expectTotal(two, 3)
      if (asset.code === other.code) return
      await trial.expectTotal(one, 0, other)
      await trial.deposit(one, 2, other)
      await trial.expectTotal(one, 5)
      await trial.expectTotal(one, 2, other)
    },
  },
  {
    ...KEYS,
    name: 'large amounts are exact to the smallest unit',
    run: async trial => {
      const credit = trial.credit(trial.user(), BEYOND_DOUBLES, { reason: 'DEPOSIT' })
      const one = trial.credit(credit.user_id, 1, { reason: 'DEPOSIT' })
      const debit = trial.debit(credit.user_id, BEYOND_DOUBLES + 1n, { reason: 'WITHDRAWAL' })
      expectApplied(await trial.send(credit), credit, { balanceAfter: trial.text(BEYOND_DOUBLES) })
      await trial.expectTotal(credit.user_id, BEYOND_DOUBLES)
      expectApplied(await trial.send(one), one, { balanceAfter: trial.text(BEYOND_DOUBLES + 1n) })
      expectApplied(await trial.send(debit), debit, { balanceAfter: '0' })
      // Where it can be undone such an amount need not stay in the totals; how well is for other promises to say.
      if (trial.claims.level > 0) for (const { key } of [debit, one, credit]) await trial.reverse(key)
    },
  },
  {
    ...LEVEL,
    name: 'of many calls at once each counts, and each tells a total of its own',
    run: async trial => {
      const user = trial.user()
      const items = Array.from({ length: AT_ONCE }, () => trial.credit(user, 1))
      const answers = await Promise.all(items.map(item => trial.send(item)))
      for (const [index, item] of items.entries()) expectApplied(answers[index] as Answer, item)
      await trial.expectTotal(user, AT_ONCE)
      for (let count = 1; count <= AT_ONCE; count++) {
        const after = trial.text(count)
        const isThere = answers.some(answer => isSame(read(answer, 'balance_after'), after))
        expectThat(isThere, `one of ${AT_ONCE} credits at once to tell the total ${after}`, await trial.balance(user))
      }
    },
  },
  {
    ...LEVEL,
    name: 'debits at once never take more than there is, nor refuse what is there',
    run: async trial => {
      const user = await trial.funded(5)
      const items = Array.from({ length: AT_ONCE }, () => trial.debit(user, 1))
      const answers = await Promise.all(items.map(item => trial.send(item)))
      const done = answers.filter(answer => answer.status < 300)
      for (const answer of answers) {
        if (!done.includes(answer)) expectRefused(answer, 422, 'INSUFFICIENT_BALANCE')
      }
      const words = `5 of ${AT_ONCE} debits at once of 1 from an account of 5 (in smallest units), not ${done.length}`
      expectThat(done.length === 5, words, await trial.balance(user))
      await trial.expectTotal(user, 0)
    },
  },
  {
    ...KEYS,
    name: 'a call repeated under its key moves nothing, and is answered 200 as the first time, replayed',
    run: async trial => {
      const user = await trial.funded(100)
      for (const item of [trial.credit(user, 10), trial.debit(user, 10)]) {
        const first = await trial.send(item)
        expectApplied(first, item, { replayed: false })
        await trial.deposit(user, 1)
        const again = await trial.send(item)
        expectApplied(again, item, { replayed: true })
        expectThat(again.status === 200, '200, since it was done before', again)
        expectEcho(again, item)
        for (const name of ['balance_after', 'applied_at']) {
          const isAsFirst = read(again, name) === read(first, name)
          expectThat(isAsFirst, `"${name}": ${JSON.stringify(read(first, name))}, as the first time`, again)
        }
      }
      await trial.expectTotal(user, 102)
    },
  },
  {
    ...KEYS,
    name: 'a key used again with other content is refused, and moves nothing: IDEMPOTENCY_KEY_REUSED',
    run: async trial => {
      const user = await trial.funded(100)
      const item = trial.credit(user, 10)
      expectApplied(await trial.send(item), item)
      const others: readonly Item[] = [
        { ...item, amount: trial.text(11) },
        { ...item, type: 'debit' },
        { ...item, user_id: trial.user() },
        { ...item, reason: 'FEE_COLLECTION' },
        { ...item, trade_id: trial.trade() },
        ...(trial.other.code === trial.asset.code ? [] : [{ ...item, currency: trial.other.code }]),
      ]
      for (const other of others) expectRefused(await trial.send(other), 422, 'IDEMPOTENCY_KEY_REUSED')
      await trial.expectTotal(user, 110)
      expectApplied(await trial.send(item), item, { replayed: true })
    },
  },
  {
    ...KEYS,
    name: 'of many calls at once under one key, one has effect',
    run: async trial => {
      const item = trial.credit(trial.user(), 10)
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => trial.send(item)))
      await trial.expectTotal(item.user_id, 10)
      expectOneFirst(answers, item)
      expectApplied(await trial.send(item), item, { replayed: true, balanceAfter: trial.text(10) })
    },
  },
  {
    ...KEYS,
    name: 'of calls at once under one key with different contents, one has effect',
    run: async trial => {
      const item = trial.credit(trial.user(), 1)
      const items = Array.from({ length: AT_ONCE }, (_, index) => ({ ...item, amount: trial.text(index + 1) }))
      const answers = await Promise.all(items.map(item => trial.send(item)))
      const done = answers.filter(answer => answer.status < 300)
      for (const answer of answers) {
        if (!done.includes(answer) && !isInProgress(answer)) expectRefused(answer, 422, 'IDEMPOTENCY_KEY_REUSED')
      }
      const now = await trial.balance(item.user_id)
      expectThat(done.length === 1, `one of ${AT_ONCE} calls to be done, not ${done.length}`, now)
      const amount = String(read(done[0] as Answer, 'amount'))
      expectThat(isSame(read(now, 'total'), amount), `a total of ${amount}, as was answered`, now)
    },
  },
]

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** The answer says what it is about. */
function expectEcho(answer: Answer, { type, user_id, currency, amount }: Item): void {
  const isOf = Object.entries({ type, user_id, currency }).every(([name, value]) => read(answer, name) === value)
  const expected = `"type": "${type}", "user_id": "${user_id}", "currency": "${currency}", "amount": "${amount}"`
  expectThat(isOf && isSame(read(answer, 'amount'), amount), expected, answer)
  const at = read(answer, 'applied_at')
  expectThat(isText(at) && INSTANT.test(at), '"applied_at": an RFC 3339 time', answer)
}

/** One says that it was done just now; the others repeat that, or say that it is under way. */
export function expectOneFirst(answers: readonly Answer[], item: { readonly key: string }): void {
  const told = answers.filter(answer => !isInProgress(answer))
  for (const answer of told) expectApplied(answer, item)
  const firsts = told.filter(answer => read(answer, 'replayed') === false)
  const last = answers.at(-1)
  if (firsts.length !== 1 && last !== undefined) {
    throw new BrokenPromiseError(`one of ${answers.length} answers with "replayed": false, not ${firsts.length}`, last)
  }
}
