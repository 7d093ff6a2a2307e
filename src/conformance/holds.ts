/** Holds: funds set aside. Tried where the capabilities offer them. */

import { AT_ONCE } from './basic.ts'
import type { Answer } from './caller.ts'
import { at, expectApplied, expectRefused, expectThat, isInProgress, isSame, read, resultsOf } from './expect.ts'
import type { WalletPromise } from './promise.ts'
import { accountOf, entriesOf } from './reading.ts'
import { expectSettled, payment, settled } from './settlements.ts'
import type { Trial } from './trial.ts'

const HOLDS = { part: 'holds', section: 'Holds' } as const

export const HOLD_PROMISES: readonly WalletPromise[] = [
  {
    ...HOLDS,
    name: 'a hold takes funds out of available into held; the total stays',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = holdOf(trial, user, 30)
      expectHold(await hold.open(), hold, { amount: 30, remaining: 30, status: 'open', replayed: false }, trial)
      await expectBalance(trial, user, { available: 70, held: 30 })
    },
  },
  {
    ...HOLDS,
    name: 'a hold repeated under its key holds once; with other content it is refused',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = holdOf(trial, user, 30)
      expectHold(await hold.open(), hold, { amount: 30, remaining: 30, status: 'open', replayed: false }, trial)
      const again = await hold.open()
      expectHold(again, hold, { amount: 30, remaining: 30, status: 'open', replayed: true }, trial)
      expectThat(again.status === 200, '200, since it was done before', again)
      expectRefused(await holdOf(trial, user, 31, hold.key).open(), 422, 'IDEMPOTENCY_KEY_REUSED')
      expectRefused(await trial.send(trial.debit(user, 30, { key: hold.key })), 422, 'IDEMPOTENCY_KEY_REUSED')
      await expectBalance(trial, user, { available: 70, held: 30 })
    },
  },
  {
    ...HOLDS,
    name: 'no more can be held than is available: INSUFFICIENT_BALANCE',
    run: async trial => {
      const user = await trial.funded(100)
      expectRefused(await holdOf(trial, user, 101).open(), 422, 'INSUFFICIENT_BALANCE')
      await openHold(trial, user, 60)
      expectRefused(await holdOf(trial, user, 41).open(), 422, 'INSUFFICIENT_BALANCE')
      await expectBalance(trial, user, { available: 40, held: 60 })
    },
  },
  {
    ...HOLDS,
    name: 'of holds at once no more are opened than the balance covers',
    run: async trial => {
      const user = await trial.funded(50)
      const holds = Array.from({ length: AT_ONCE }, () => holdOf(trial, user, 10))
      const answers = await Promise.all(holds.map(hold => hold.open()))
      const done = answers.filter(answer => answer.status < 300)
      for (const answer of answers) if (!done.includes(answer)) expectRefused(answer, 422, 'INSUFFICIENT_BALANCE')
      const words = `5 of ${AT_ONCE} holds at once of 10 on an account of 50 (in smallest units), not ${done.length}`
      expectThat(done.length === 5, words, await trial.balance(user))
      await expectBalance(trial, user, { available: 0, held: 50 })
    },
  },
  {
    ...HOLDS,
    name: 'what is held can not be taken by a debit that does not name the hold',
    run: async trial => {
      const user = await trial.funded(100)
      await openHold(trial, user, 60)
      expectRefused(await trial.send(trial.debit(user, 41)), 422, 'INSUFFICIENT_BALANCE')
      const item = trial.debit(user, 40)
      expectApplied(await trial.send(item), item, { balanceAfter: trial.text(60) })
      await expectBalance(trial, user, { available: 0, held: 60 })
    },
  },
  {
    ...HOLDS,
    name: 'a debit that names a hold draws on it first, and takes the rest from what is available',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const part = trial.debit(user, 50, { hold: hold.key })
      expectApplied(await trial.send(part), part, { balanceAfter: trial.text(50) })
      await expectBalance(trial, user, { available: 40, held: 10 })
      const rest = trial.debit(user, 30, { hold: hold.key })
      expectApplied(await trial.send(rest), rest, { balanceAfter: trial.text(20) })
      await expectBalance(trial, user, { available: 20, held: 0 })
      expectRefused(await trial.send(trial.debit(user, 21)), 422, 'INSUFFICIENT_BALANCE')
    },
  },
  {
    ...HOLDS,
    name: 'the hold is part of what a key means: with another, or none, it is refused',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const item = trial.debit(user, 10, { hold: hold.key })
      expectApplied(await trial.send(item), item)
      const { hold: _, ...without } = item
      expectRefused(await trial.send(without), 422, 'IDEMPOTENCY_KEY_REUSED')
      expectApplied(await trial.send(item), item, { replayed: true })
      await expectBalance(trial, user, { available: 40, held: 50 })
    },
  },
  {
    ...HOLDS,
    name: 'a hold that is not there, or of another account, is not drawn on: HOLD_NOT_FOUND',
    run: async trial => {
      const [user, another] = [await trial.funded(100), await trial.funded(100)]
      const hold = await openHold(trial, another, 60)
      expectRefused(await trial.send(trial.debit(user, 10, { hold: trial.key() })), 422, 'HOLD_NOT_FOUND')
      expectRefused(await trial.send(trial.debit(user, 10, { hold: hold.key })), 422, 'HOLD_NOT_FOUND')
      expectRefused(await hold.release(trial.key(), 1, trial.key()), 422, 'HOLD_NOT_FOUND')
      await expectBalance(trial, user, { available: 100, held: 0 })
      await expectBalance(trial, another, { available: 40, held: 60 })
    },
  },
  {
    ...HOLDS,
    name: 'a release gives back a part, or all that remains, which closes the hold',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const first = await hold.release(trial.key(), 20)
      expectHold(first, hold, { remaining: 40, status: 'open', replayed: false }, trial)
      await expectBalance(trial, user, { available: 60, held: 40 })
      const last = await hold.release(trial.key())
      expectHold(last, hold, { remaining: 0, status: 'closed', replayed: false }, trial)
      await expectBalance(trial, user, { available: 100, held: 0 })
    },
  },
  {
    ...HOLDS,
    name: 'a release repeated under its key gives back once',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const key = trial.key()
      expectHold(await hold.release(key, 20), hold, { remaining: 40, status: 'open', replayed: false }, trial)
      expectHold(await hold.release(key, 20), hold, { remaining: 40, status: 'open', replayed: true }, trial)
      expectRefused(await hold.release(key, 21), 422, 'IDEMPOTENCY_KEY_REUSED')
      await expectBalance(trial, user, { available: 60, held: 40 })
    },
  },
  {
    ...HOLDS,
    name: 'of many releases at once under one key, one has effect',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const key = trial.key()
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => hold.release(key, 1)))
      await expectBalance(trial, user, { available: 41, held: 59 })
      for (const answer of answers) {
        if (!isInProgress(answer)) expectHold(answer, hold, { remaining: 59, status: 'open' }, trial)
      }
    },
  },
  {
    ...HOLDS,
    name: 'no more can be released than remains: HOLD_EXCEEDED',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      expectRefused(await hold.release(trial.key(), 61), 422, 'HOLD_EXCEEDED')
      const item = trial.debit(user, 50, { hold: hold.key })
      expectApplied(await trial.send(item), item)
      expectRefused(await hold.release(trial.key(), 11), 422, 'HOLD_EXCEEDED')
      await expectBalance(trial, user, { available: 40, held: 10 })
    },
  },
  {
    ...HOLDS,
    name: 'holds and releases make no entries',
    needs: 'reversals',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      await hold.release(trial.key(), 20)
      const answer = await trial.get(`/v1/entries?${accountOf(trial, user)}`)
      expectThat(entriesOf(answer).length === 1, 'the entry of the deposit alone', answer)
    },
  },
  {
    ...HOLDS,
    name: 'undoing a debit gives the money back as available; the hold is not filled again',
    needs: 'reversals',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 60)
      const item = trial.debit(user, 50, { hold: hold.key })
      expectApplied(await trial.send(item), item)
      await trial.reverse(item.key)
      await expectBalance(trial, user, { available: 90, held: 10 })
    },
  },
  {
    ...HOLDS,
    name: 'the debits of a batch may name holds',
    needs: 'batch',
    run: async trial => {
      const user = await trial.funded(100)
      const hold = await openHold(trial, user, 100)
      const items = [trial.debit(user, 10), trial.debit(user, 60, { hold: hold.key }), trial.debit(user, 10)]
      const results = resultsOf(await trial.batch(items), items.length)
      expectRefused(at(results, 0), 422, 'INSUFFICIENT_BALANCE')
      expectApplied(at(results, 1), at(items, 1), { balanceAfter: trial.text(40) })
      expectRefused(at(results, 2), 422, 'INSUFFICIENT_BALANCE')
      await expectBalance(trial, user, { available: 0, held: 40 })
    },
  },
  {
    ...HOLDS,
    name: 'the debits of a settlement may name holds; one that is not there refuses it whole',
    needs: 'settlements',
    run: async trial => {
      const [user, payee] = [await trial.funded(100), trial.user()]
      const hold = await openHold(trial, user, 100)
      const plain = payment(trial, user, payee, 60)
      expectRefused(await settled(trial, plain), 422, 'INSUFFICIENT_BALANCE')
      const naming = (key: string) => {
        const { legs, ...rest } = payment(trial, user, payee, 60)
        return { ...rest, legs: legs.map(leg => (leg.type === 'debit' ? { ...leg, hold: key } : leg)) }
      }
      expectRefused(await settled(trial, naming(trial.key())), 422, 'HOLD_NOT_FOUND')
      await expectBalance(trial, user, { available: 0, held: 100 })
      const right = naming(hold.key)
      expectSettled(await settled(trial, right), right, false)
      await expectBalance(trial, user, { available: 0, held: 40 })
      await trial.expectTotal(payee, 60)
    },
  },
]

interface Hold {
  readonly key: string
  readonly user: string
  open(): Promise<Answer>
  /** @param units left out: all that remains. @param of the hold's key, this one's if left out. */
  release(key: string, units?: number, of?: string): Promise<Answer>
}

function holdOf(trial: Trial, user: string, units: number, key: string = trial.key()): Hold {
  const body = { user_id: user, currency: trial.asset.code, amount: trial.text(units) }
  return {
    key,
    user,
    open: () => trial.post('/v1/holds', body, key),
    release: (callKey, part, of = key) =>
      trial.post(
        '/v1/holds/release',
        { key: of, ...(part === undefined ? {} : { amount: trial.text(part) }) },
        callKey,
      ),
  }
}

async function openHold(trial: Trial, user: string, units: number): Promise<Hold> {
  const hold = holdOf(trial, user, units)
  expectHold(await hold.open(), hold, { remaining: units, status: 'open' }, trial)
  return hold
}

interface HoldSeen {
  readonly amount?: number
  readonly remaining: number
  readonly status: 'open' | 'closed'
  readonly replayed?: boolean
}

function expectHold(answer: Answer, { key, user }: Hold, wanted: HoldSeen, trial: Trial): void {
  const { amount, remaining, status, replayed } = wanted
  const exact = {
    key,
    user_id: user,
    currency: trial.asset.code,
    status,
    ...(replayed === undefined ? {} : { replayed }),
  }
  const amounts = {
    remaining: trial.text(remaining),
    ...(amount === undefined ? {} : { amount: trial.text(amount) }),
  }
  const isDone = answer.status === 200 || answer.status === 201
  const isRight = Object.entries(exact).every(([name, value]) => read(answer, name) === value)
  const areRight = Object.entries(amounts).every(([name, value]) => isSame(read(answer, name), value))
  expectThat(isDone && isRight && areRight, `200 or 201 with ${JSON.stringify({ ...exact, ...amounts })}`, answer)
}

async function expectBalance(
  trial: Trial,
  user: string,
  { available, held }: { readonly available: number; readonly held: number },
): Promise<void> {
  const answer = await trial.balance(user)
  const wanted = { available: trial.text(available), held: trial.text(held), total: trial.text(available + held) }
  const isRight = Object.entries(wanted).every(([name, value]) => isSame(read(answer, name), value))
  expectThat(isRight, `200 with ${JSON.stringify(wanted)}`, answer)
}
