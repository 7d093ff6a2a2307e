/** From level 1 on: what the wallet tells of its books. */
import type { Answer } from './caller.ts'
import {
  BrokenPromiseError,
  decimalOf,
  expectApplied,
  expectRefused,
  expectThat,
  isSame,
  isText,
  read,
} from './expect.ts'
import type { WalletPromise } from './promise.ts'
import type { Item, Trial } from './trial.ts'

const READING = { part: 'reversals', section: 'Reading back' } as const
const LOOKS = 5

export const READING_BACK: readonly WalletPromise[] = [
  {
    ...READING,
    section: 'Level 1',
    name: 'a key can be looked up, with its first answer and the status it has now',
    run: async trial => {
      const item = trial.credit(trial.user(), 10)
      const first = await trial.send(item)
      expectApplied(first, item)
      const applied = await lookUp(trial, item.key, 'applied')
      const names = ['key', 'type', 'user_id', 'currency', 'amount', 'balance_after', 'applied_at']
      for (const name of names) {
        const said = read(first, name)
        expectThat(read(applied, name) === said, `"${name}": ${JSON.stringify(said)}, as the first time`, applied)
      }
      await trial.reverse(item.key)
      await lookUp(trial, item.key, 'reversed')
      const refused = trial.debit(trial.user(), 10)
      await trial.send(refused)
      await lookUp(trial, refused.key, 'refused')
      await trial.reverse(refused.key)
      await lookUp(trial, refused.key, 'cancelled')
      const never = trial.key()
      await trial.reverse(never)
      await lookUp(trial, never, 'cancelled')
    },
  },
  {
    ...READING,
    section: 'Level 1',
    name: 'a key that was never seen, or only in malformed requests, is not there: NOT_FOUND',
    run: async trial => {
      const item = trial.credit(trial.user(), 1)
      expectRefused(await trial.get(`/v1/operations/${encodeURIComponent(item.key)}`), 404, 'NOT_FOUND')
      await trial.send({ ...item, amount: '-1' })
      expectRefused(await trial.get(`/v1/operations/${encodeURIComponent(item.key)}`), 404, 'NOT_FOUND')
    },
  },
  {
    ...READING,
    name: 'the entries of an account are all that moved it, oldest first, each with the total after it',
    run: async trial => {
      const user = trial.user()
      const items = [trial.credit(user, 10), trial.debit(user, 4), trial.credit(user, 1)]
      for (const item of items) expectApplied(await trial.send(item), item)
      // What moved nothing has no entries.
      await trial.send(trial.debit(user, 100))
      await trial.send(items[0] as Item)
      await expectEntries(
        trial,
        accountOf(trial, user),
        [10, 6, 7].map((after, index) => ({ item: items[index] as Item, after: trial.text(after) })),
      )
      const answer = await trial.get(`/v1/entries?${accountOf(trial, trial.user())}`)
      const isEmpty = answer.status === 200 && JSON.stringify(read(answer, 'entries')) === '[]'
      expectThat(isEmpty, '200 with "entries": [] of an account that was never used', answer)
    },
  },
  {
    ...READING,
    name: 'the entries of a trade are those that name it',
    run: async trial => {
      const user = trial.user()
      const trade_id = trial.trade()
      const items = [trial.credit(user, 10, { trade_id }), trial.debit(user, 4, { trade_id })]
      for (const item of items) expectApplied(await trial.send(item), item)
      const other = trial.credit(user, 1)
      expectApplied(await trial.send(other), other)
      await expectEntries(
        trial,
        `trade_id=${trade_id}`,
        [10, 6].map((after, index) => ({ item: items[index] as Item, after: trial.text(after) })),
      )
    },
  },
  {
    ...READING,
    name: 'an operation that was undone has a second entry: the opposite, with the reason SETTLEMENT_ROLLBACK',
    run: async trial => {
      const item = trial.credit(trial.user(), 10)
      expectApplied(await trial.send(item), item)
      await trial.reverse(item.key)
      const undo = { ...item, type: 'debit', reason: 'SETTLEMENT_ROLLBACK' } as const
      await expectEntries(trial, accountOf(trial, item.user_id), [
        { item, after: trial.text(10) },
        { item: undo, after: '0' },
      ])
    },
  },
  {
    ...READING,
    name: 'entries come in pages: no more than the limit on each, none twice, none left out, then no cursor',
    run: async trial => {
      const user = trial.user()
      const count = 5
      for (let done = 0; done < count; done++) {
        const item = trial.credit(user, 1)
        expectApplied(await trial.send(item), item)
      }
      const totals: unknown[] = []
      let cursor: unknown = null
      do {
        const from = isText(cursor) ? `&cursor=${encodeURIComponent(cursor)}` : ''
        const answer = await trial.get(`/v1/entries?${accountOf(trial, user)}&limit=2${from}`)
        const entries = entriesOf(answer)
        cursor = read(answer, 'next_cursor')
        totals.push(...entries.map(entry => decimalOf(Reflect.get(entry, 'balance_after'))))
        const isPage = entries.length > 0 && entries.length <= 2 && totals.length <= count
        expectThat(isPage, `pages of at most 2 entries, ${count} in all`, answer)
        expectThat(cursor === null || isText(cursor), '"next_cursor": a text, or null on the last page', answer)
        if (cursor === null) {
          const wanted = Array.from({ length: count }, (_, index) => decimalOf(trial.text(index + 1)))
          expectThat(totals.length === count && totals.every((total, index) => total === wanted[index]), EACH, answer)
        }
      } while (cursor !== null)
    },
  },
  {
    ...READING,
    name: 'balances + clearing = deposits − withdrawals, in every currency, also in the midst of calls',
    run: async trial => {
      const user = await trial.funded(100)
      const items = Array.from({ length: LOOKS * 4 }, (_, index) =>
        index % 2 === 0 ? trial.credit(user, 3) : trial.debit(user, 3),
      )
      const looks = Array.from({ length: LOOKS }, () => trial.get('/v1/totals'))
      const calls = items.map(item => trial.send(item))
      for (const answer of await Promise.all(looks)) expectBalanced(answer)
      await Promise.all(calls)
      for (const item of items.slice(0, 2)) await trial.reverse(item.key)
      expectBalanced(await trial.get('/v1/totals'))
    },
  },
  {
    ...READING,
    name: 'the totals count deposits and withdrawals',
    run: async trial => {
      const user = await trial.funded(100)
      const item = trial.debit(user, 30, { reason: 'WITHDRAWAL' })
      expectApplied(await trial.send(item), item)
      const answer = await trial.get('/v1/totals')
      const of = listOf(answer, 'totals').find(total => Reflect.get(total, 'currency') === trial.asset.code) ?? {}
      const isAtLeast = (name: string, units: number): boolean =>
        (decimalOf(Reflect.get(of, name)) ?? 0n) >= (decimalOf(trial.text(units)) ?? 0n)
      const words = `in ${trial.asset.code} deposits of at least ${trial.text(100)} and withdrawals of at least ${trial.text(30)}`
      expectThat(isAtLeast('deposits', 100) && isAtLeast('withdrawals', 30), words, answer)
    },
  },
]

const EACH = 'entries with the totals of 1 to 5 units, each once and in this order'

export function accountOf(trial: Trial, user: string): string {
  return `user_id=${user}&currency=${trial.asset.code}`
}

export async function lookUp(trial: Trial, key: string, status: string): Promise<Answer> {
  const answer = await trial.get(`/v1/operations/${encodeURIComponent(key)}`)
  const isRight = answer.status === 200 && read(answer, 'key') === key && read(answer, 'status') === status
  expectThat(isRight, `200 with "status": "${status}"`, answer)
  return answer
}

export function entriesOf(answer: Answer): readonly object[] {
  return listOf(answer, 'entries')
}

function listOf(answer: Answer, name: string): readonly object[] {
  const list = read(answer, name)
  if (answer.status === 200 && Array.isArray(list) && list.every(each => typeof each === 'object' && each !== null)) {
    return list
  }
  throw new BrokenPromiseError(`200 with "${name}": [ { … }, … ]`, answer)
}

interface Wanted {
  readonly item: Item
  readonly after: string
}

async function expectEntries(trial: Trial, query: string, wanted: readonly Wanted[]): Promise<void> {
  const answer = await trial.get(`/v1/entries?${query}`)
  const entries = entriesOf(answer)
  expectThat(entries.length === wanted.length, `${wanted.length} entries`, answer)
  for (const [index, { item, after }] of wanted.entries()) {
    const { user_id, currency, reason, key } = item
    const amount = `${item.type === 'debit' ? '-' : ''}${item.amount}`
    const trade_id = item.trade_id ?? null
    const entry = { ...answer, body: entries[index] }
    const exact = { user_id, currency, reason, key, trade_id, leg: null }
    const isRight = Object.entries(exact).every(([name, value]) => read(entry, name) === value)
    expectThat(
      isRight && isSame(read(entry, 'amount'), amount) && isSame(read(entry, 'balance_after'), after),
      `entry ${index} to have ${JSON.stringify({ ...exact, amount, balance_after: after })}`,
      answer,
    )
  }
}

export function expectBalanced(answer: Answer): void {
  for (const total of listOf(answer, 'totals')) {
    const of = (name: string): bigint => {
      const value = decimalOf(Reflect.get(total, name))
      if (value === null) throw new BrokenPromiseError(`"${name}" to be a decimal text in each currency`, answer)
      return value
    }
    const isEven = of('balances') + of('clearing') === of('deposits') - of('withdrawals')
    expectThat(isEven, `balances + clearing = deposits − withdrawals in ${Reflect.get(total, 'currency')}`, answer)
  }
}
