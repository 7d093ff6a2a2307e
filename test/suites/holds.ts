import { beforeEach, describe, expect, test } from 'vitest'
import type {
  BookedWallet,
  Hold,
  Movement,
  Operation,
  Release,
  SettlementCall,
  WalletLevel,
} from '../../src/wallet/wallet.ts'
import { BUYER, FEES, SELLER } from '../support/trades.ts'
import type { MakeWallet } from './wallet.ts'

const TRADE = '00000000-0000-4000-9000-00000000aaab'
/** 10^10 of these are the smallest unit of an asset with eight places. */
const ATTO = 10n ** 10n

let made = 0

function nextKey(): string {
  made++
  return `hold-key-${made}`
}

function debit(amount: bigint, change: Partial<Operation> = {}): Operation {
  const of = { userId: BUYER, currency: 'USDT', tradeId: TRADE, reason: 'TRADE_SETTLEMENT' } as const
  return { key: nextKey(), type: 'debit', ...of, amount, ...change }
}

function holdOf(amount: bigint, change: Partial<Hold> = {}): Hold {
  return { key: nextKey(), userId: BUYER, currency: 'USDT', amount, ...change }
}

function releaseOf(hold: string, amount: bigint | null = null, key: string = nextKey()): Release {
  return { key, hold, amountAtto: amount === null ? null : amount * ATTO }
}

function leg(type: Movement['type'], userId: string, amount: bigint, hold?: string): Movement {
  const movement = { type, userId, currency: 'USDT', amount, reason: 'TRADE_SETTLEMENT' } as const
  return hold === undefined ? movement : { ...movement, hold }
}

function settlementOf(legs: readonly Movement[]): SettlementCall {
  return { key: nextKey(), tradeId: TRADE, legs }
}

/** What the wallet protocol promises of holds ("Holds"), and what it leaves open, as docs/holds.md decides it. */
export function holdsSuite(name: string, make: MakeWallet): void {
  describe.each<WalletLevel>(['reversals', 'settlements'])(`holds of ${name} at level %s`, level => {
    let wallet: BookedWallet

    beforeEach(async () => {
      wallet = await make(level)
      await deposit(100n)
    })

    async function deposit(amount: bigint, userId: string = BUYER): Promise<void> {
      const of = { userId, currency: 'USDT', tradeId: null } as const
      const outcome = await wallet.apply({ key: nextKey(), type: 'credit', ...of, amount, reason: 'DEPOSIT' })
      expect(outcome.outcome).toBe('applied')
    }

    async function place(amount: bigint): Promise<string> {
      const hold = holdOf(amount)
      expect(await wallet.hold(hold)).toMatchObject({ outcome: 'applied', replayed: false })
      return hold.key
    }

    /** Available, held and total. */
    async function balances(userId: string = BUYER): Promise<readonly (bigint | undefined)[]> {
      const balance = await wallet.balance(userId, 'USDT')
      return [balance?.available, balance?.held, balance?.total]
    }

    async function entries(userId: string = BUYER): Promise<number> {
      return (await wallet.entries({ of: { userId, currency: 'USDT' }, after: null, limit: 100 })).length
    }

    const applied = (remaining: bigint, amount: bigint, replayed = false) => ({
      outcome: 'applied',
      replayed,
      done: { userId: BUYER, currency: 'USDT', amount, remaining },
    })
    const short = (available: bigint, required: bigint, code = 'INSUFFICIENT_BALANCE') => ({
      outcome: 'refused',
      code,
      amounts: { currency: 'USDT', available, required },
    })
    const refused = (code: string) => ({ outcome: 'refused', code })

    test('says that there are some', async () => {
      expect(await wallet.capabilities()).toMatchObject({ holds: true })
    })

    test('a hold moves funds out of what is available, and makes no entry', async () => {
      expect(await wallet.hold(holdOf(30n))).toEqual(applied(30n, 30n))
      expect(await balances()).toEqual([70n, 30n, 100n])
      expect(await entries()).toBe(1)
    })

    test('a hold of more than is available says what there is and what is needed, and its key is spent', async () => {
      await place(60n)
      const hold = holdOf(41n)
      expect(await wallet.hold(hold)).toMatchObject(short(40n, 41n))
      await deposit(100n)
      expect(await wallet.hold(hold)).toMatchObject(short(40n, 41n))
      expect(await balances()).toEqual([140n, 60n, 200n])
    })

    test('holds may take all there is, and then no debit has anything but its own hold', async () => {
      const hold = await place(100n)
      expect(await wallet.apply(debit(1n))).toMatchObject(short(0n, 1n))
      expect(await wallet.apply(debit(100n, { hold }))).toMatchObject({ done: { balanceAfter: 0n } })
      expect(await balances()).toEqual([0n, 0n, 0n])
    })

    test.each<[string, Partial<Hold>, string]>([
      ['an unknown currency', { currency: 'DOGE' }, 'UNKNOWN_CURRENCY'],
      ['an amount of zero', { amount: 0n }, 'INVALID_AMOUNT'],
      ['a user that is no UUID', { userId: 'bob' }, 'INVALID_REQUEST'],
      ['a currency that is none', { currency: 'usdt' }, 'INVALID_REQUEST'],
      ['an empty key', { key: '' }, 'INVALID_REQUEST'],
    ])('a hold of %s is refused', async (_, change, code) => {
      expect(await wallet.hold(holdOf(1n, change))).toMatchObject(refused(code))
      expect(await balances()).toEqual([100n, 0n, 100n])
    })

    test('an account that was never used has nothing to set aside, nor has the fee account below zero', async () => {
      for (const userId of [SELLER, FEES]) {
        expect(await wallet.hold(holdOf(1n, { userId }))).toMatchObject(short(0n, 1n))
      }
      await deposit(10n, FEES)
      expect((await wallet.hold(holdOf(10n, { userId: FEES }))).outcome).toBe('applied')
      expect(await wallet.apply(debit(4n, { userId: FEES }))).toMatchObject({ done: { balanceAfter: 6n } })
      expect(await balances(FEES)).toEqual([-4n, 10n, 6n])
    })

    test('the same hold again is answered as the first time, also when it is drawn on meanwhile', async () => {
      const hold = holdOf(30n)
      const answers = await Promise.all(Array.from({ length: 10 }, () => wallet.hold(hold)))
      expect(answers.filter(answer => answer.outcome === 'applied' && answer.replayed)).toHaveLength(9)
      await wallet.apply(debit(20n, { hold: hold.key }))
      expect(await wallet.hold(hold)).toEqual(applied(30n, 30n, true))
      expect(await balances()).toEqual([70n, 10n, 80n])
    })

    test('a key with other content is a fault, whatever it was used for', async () => {
      const hold = holdOf(30n)
      await wallet.hold(hold)
      const reused = { outcome: 'fault', code: 'IDEMPOTENCY_KEY_REUSED' }
      const release = releaseOf(hold.key, 1n)
      await wallet.release(release)
      const drawn = debit(1n, { hold: hold.key })
      await wallet.apply(drawn)
      const other = await place(5n)
      for (const change of [{ amount: 31n }, { userId: SELLER }, { currency: 'BTC' }]) {
        expect(await wallet.hold({ ...hold, ...change })).toMatchObject(reused)
      }
      for (const amountAtto of [2n * ATTO, null]) {
        expect(await wallet.release({ ...release, amountAtto })).toMatchObject(reused)
      }
      expect(await wallet.release({ ...release, hold: other })).toMatchObject(reused)
      expect(await wallet.apply({ ...drawn, hold: other })).toMatchObject(reused)
      expect(await wallet.apply(debit(1n, { key: drawn.key }))).toMatchObject(reused)
      expect(await wallet.apply(debit(30n, { key: hold.key }))).toMatchObject(reused)
      expect(await wallet.hold(holdOf(1n, { key: drawn.key }))).toMatchObject(reused)
      expect(await wallet.release(releaseOf(other, null, hold.key))).toMatchObject(reused)
      expect(await balances()).toEqual([66n, 33n, 99n])
    })

    test('a debit draws on its hold first, and takes the rest of what is available', async () => {
      const hold = await place(30n)
      expect(await wallet.apply(debit(20n, { hold }))).toMatchObject({ done: { balanceAfter: 80n } })
      expect(await balances()).toEqual([70n, 10n, 80n])
      expect(await wallet.apply(debit(25n, { hold }))).toMatchObject({ done: { balanceAfter: 55n } })
      expect(await balances()).toEqual([55n, 0n, 55n])
      expect(await wallet.apply(debit(5n, { hold }))).toMatchObject({ done: { balanceAfter: 50n } })
      expect(await balances()).toEqual([50n, 0n, 50n])
      expect(await entries()).toBe(4)
    })

    test('a debit whose rest is not available says how much the hold does not cover, and changes nothing', async () => {
      const hold = await place(30n)
      await place(60n)
      const tooMuch = debit(41n, { hold })
      expect(await wallet.apply(tooMuch)).toMatchObject(short(10n, 11n))
      await deposit(100n)
      expect(await wallet.apply(tooMuch)).toMatchObject(short(10n, 11n))
      expect(await balances()).toEqual([110n, 90n, 200n])
    })

    test('a debit without a hold takes only what is available', async () => {
      await place(60n)
      expect(await wallet.apply(debit(41n))).toMatchObject(short(40n, 41n))
      expect(await wallet.apply(debit(40n))).toMatchObject({ outcome: 'applied' })
      expect(await balances()).toEqual([0n, 60n, 60n])
    })

    test('a hold that is not there, or on another account, is not found, and the key of the call is spent', async () => {
      await deposit(50n, SELLER)
      const hold = await place(30n)
      const late = holdOf(5n)
      const cases = [
        debit(1n, { hold: late.key }),
        debit(1n, { hold, userId: SELLER }),
        debit(1n, { hold, currency: 'BTC' }),
      ]
      for (const each of cases) expect(await wallet.apply(each)).toMatchObject(refused('HOLD_NOT_FOUND'))
      const release = releaseOf(late.key)
      expect(await wallet.release(release)).toMatchObject(refused('HOLD_NOT_FOUND'))
      const ofDebit = debit(1n)
      await wallet.apply(ofDebit)
      expect(await wallet.release(releaseOf(ofDebit.key))).toMatchObject(refused('HOLD_NOT_FOUND'))
      await wallet.hold(late)
      expect(await wallet.apply(cases[0] as Operation)).toMatchObject(refused('HOLD_NOT_FOUND'))
      expect(await wallet.release(release)).toMatchObject(refused('HOLD_NOT_FOUND'))
      expect(await balances()).toEqual([64n, 35n, 99n])
    })

    test('a credit names no hold', async () => {
      const hold = await place(30n)
      expect(await wallet.apply(debit(1n, { type: 'credit', hold }))).toMatchObject(refused('INVALID_REQUEST'))
      expect(await wallet.apply(debit(1n, { hold: 'a\nb' }))).toMatchObject(refused('INVALID_REQUEST'))
    })

    test('a release gives back a part, or all that remains, be it nothing', async () => {
      const hold = await place(30n)
      expect(await wallet.release(releaseOf(hold, 12n))).toEqual(applied(18n, 30n))
      expect(await balances()).toEqual([82n, 18n, 100n])
      expect(await wallet.release(releaseOf(hold))).toEqual(applied(0n, 30n))
      expect(await wallet.release(releaseOf(hold))).toEqual(applied(0n, 30n))
      expect(await balances()).toEqual([100n, 0n, 100n])
      expect(await entries()).toBe(1)
    })

    test('a release again is answered as the first time', async () => {
      const hold = await place(30n)
      const [part, rest] = [releaseOf(hold, 12n), releaseOf(hold)]
      await wallet.release(part)
      await wallet.release(rest)
      expect(await wallet.release(part)).toEqual(applied(18n, 30n, true))
      expect(await wallet.release(rest)).toEqual(applied(0n, 30n, true))
      expect(await balances()).toEqual([100n, 0n, 100n])
    })

    test('a release of more than remains is refused, and its key is spent', async () => {
      const hold = await place(30n)
      const release = releaseOf(hold, 21n)
      await wallet.apply(debit(10n, { hold }))
      expect(await wallet.release(release)).toMatchObject(short(20n, 21n, 'HOLD_EXCEEDED'))
      expect(await wallet.release(release)).toMatchObject(short(20n, 21n, 'HOLD_EXCEEDED'))
      expect(await wallet.release(releaseOf(hold, 20n))).toEqual(applied(0n, 30n))
      expect(await wallet.release(releaseOf(hold, 1n))).toMatchObject(short(0n, 1n, 'HOLD_EXCEEDED'))
    })

    test('a release of nothing, or of a fraction of a unit, is a fault of the request and leaves no trace', async () => {
      const hold = await place(30n)
      for (const amountAtto of [0n, -ATTO, 1n, ATTO + 1n]) {
        const release = { key: `fraction ${hold}`, hold, amountAtto }
        expect(await wallet.release(release)).toMatchObject(refused('INVALID_AMOUNT'))
      }
      expect(await wallet.release(releaseOf(hold, 1n, ''))).toMatchObject(refused('INVALID_REQUEST'))
      expect(await wallet.release(releaseOf('', 1n))).toMatchObject(refused('INVALID_REQUEST'))
      expect(await wallet.release(releaseOf(hold, 2n, `fraction ${hold}`))).toEqual(applied(28n, 30n))
    })

    test('a debit that is reversed gives the money back as available, and does not refill its hold', async () => {
      const hold = await place(30n)
      const drawn = debit(40n, { hold })
      await wallet.apply(drawn)
      expect(await wallet.reverse(drawn.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await balances()).toEqual([100n, 0n, 100n])
      expect(await wallet.apply(drawn)).toMatchObject(refused('REVERSED'))
    })

    test('a reversal of a credit takes no money that is held', async () => {
      const credit = debit(50n, { type: 'credit' })
      await wallet.apply(credit)
      const hold = await place(120n)
      expect(await wallet.reverse(credit.key)).toMatchObject(short(30n, 50n))
      await wallet.release(releaseOf(hold, 20n))
      expect(await wallet.reverse(credit.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await balances()).toEqual([0n, 100n, 100n])
    })

    test('a reversal of a hold gives back what remains of it; nothing can be done with it from then on', async () => {
      const hold = holdOf(30n)
      await wallet.hold(hold)
      const drawn = debit(10n, { hold: hold.key })
      await wallet.apply(drawn)
      expect(await wallet.reverse(hold.key)).toMatchObject({ replayed: false, done: { status: 'reversed' } })
      expect(await wallet.reverse(hold.key)).toMatchObject({ replayed: true, done: { status: 'reversed' } })
      expect(await balances()).toEqual([90n, 0n, 90n])
      expect(await wallet.hold(hold)).toMatchObject(refused('REVERSED'))
      expect(await wallet.apply(debit(1n, { hold: hold.key }))).toMatchObject(refused('HOLD_NOT_FOUND'))
      expect(await wallet.release(releaseOf(hold.key))).toMatchObject(refused('HOLD_NOT_FOUND'))
      // What was drawn is spent, and comes back only by its own reversal.
      await wallet.reverse(drawn.key)
      expect(await balances()).toEqual([100n, 0n, 100n])
    })

    test('a closed hold can be reversed too', async () => {
      const hold = await place(30n)
      await wallet.release(releaseOf(hold))
      expect(await wallet.reverse(hold)).toMatchObject({ done: { status: 'reversed' } })
      expect(await wallet.apply(debit(1n, { hold }))).toMatchObject(refused('HOLD_NOT_FOUND'))
    })

    test('a hold that arrives after its reversal, or was refused before it, is not placed', async () => {
      const late = holdOf(30n)
      const poor = holdOf(300n)
      await wallet.hold(poor)
      for (const { key } of [late, poor])
        expect(await wallet.reverse(key)).toMatchObject({ done: { status: 'cancelled' } })
      await deposit(300n)
      for (const hold of [late, poor]) expect(await wallet.hold(hold)).toMatchObject(refused('REVERSED'))
      expect(await balances()).toEqual([400n, 0n, 400n])
    })

    test('a reversal of a release sets the funds aside again, if they and the hold are there', async () => {
      const hold = await place(80n)
      const release = releaseOf(hold, 50n)
      await wallet.release(release)
      await wallet.apply(debit(30n))
      expect(await wallet.reverse(release.key)).toMatchObject(short(40n, 50n))
      await deposit(10n)
      expect(await wallet.reverse(release.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await wallet.release(release)).toMatchObject(refused('REVERSED'))
      expect(await balances()).toEqual([0n, 80n, 80n])
      const [again, nothing] = [releaseOf(hold), releaseOf(hold)]
      await wallet.release(again)
      await wallet.release(nothing)
      expect(await wallet.reverse(nothing.key)).toMatchObject({ done: { status: 'reversed' } })
      await wallet.reverse(hold)
      expect(await wallet.reverse(again.key)).toMatchObject(refused('HOLD_NOT_FOUND'))
      expect(await balances()).toEqual([80n, 0n, 80n])
    })

    test('keys are looked up: a hold as it stands, a release as it left it', async () => {
      const hold = holdOf(30n)
      const poor = holdOf(300n)
      const [part, tooMuch] = [releaseOf(hold.key, 10n), releaseOf(hold.key, 40n)]
      const drawn = debit(5n, { hold: hold.key })
      await wallet.hold(hold)
      await wallet.hold(poor)
      await wallet.release(part)
      await wallet.release(tooMuch)
      await wallet.apply(drawn)
      const state = (remaining: bigint, amount = 30n) => ({ userId: BUYER, currency: 'USDT', amount, remaining })
      const isOf = { tradeId: null, movement: null, balanceAfter: null }
      expect(await wallet.keyRecord(hold.key)).toMatchObject({
        ...isOf,
        ...{ kind: 'hold', status: 'applied', hold: null, held: state(15n), refusal: null },
      })
      expect(await wallet.keyRecord(poor.key)).toMatchObject({
        ...isOf,
        ...{ kind: 'hold', status: 'refused', held: state(0n, 300n), refusal: { code: 'INSUFFICIENT_BALANCE' } },
      })
      expect(await wallet.keyRecord(part.key)).toMatchObject({
        ...isOf,
        ...{ kind: 'release', status: 'applied', hold: hold.key, held: state(20n), refusal: null },
      })
      expect(await wallet.keyRecord(tooMuch.key)).toMatchObject({
        ...isOf,
        ...{ kind: 'release', status: 'refused', hold: hold.key, held: null, refusal: { code: 'HOLD_EXCEEDED' } },
      })
      expect(await wallet.keyRecord(drawn.key)).toMatchObject({
        kind: 'debit',
        movement: { amount: 5n, hold: hold.key },
        held: null,
      })
      await wallet.reverse(hold.key)
      expect(await wallet.keyRecord(hold.key)).toMatchObject({ status: 'reversed', held: state(0n) })
    })

    test('a hundred holds at once on what covers three: three are taken, and the others say why not', async () => {
      const holds = Array.from({ length: 100 }, () => holdOf(30n))
      const outcomes = await Promise.all(holds.map(hold => wallet.hold(hold)))
      expect(outcomes.filter(each => each.outcome === 'applied')).toHaveLength(3)
      const others = outcomes.filter(each => each.outcome !== 'applied')
      expect(others).toHaveLength(97)
      for (const other of others) expect(other).toMatchObject(short(10n, 30n))
      expect(await balances()).toEqual([10n, 90n, 100n])
    })

    test('debits and releases side by side on one hold never take more than it has', async () => {
      const hold = await place(100n)
      const outcomes = await Promise.all(
        Array.from({ length: 40 }, (_, at) =>
          at % 2 === 0 ? wallet.apply(debit(10n, { hold })) : wallet.release(releaseOf(hold, 10n)),
        ),
      )
      expect(outcomes.every(each => each.outcome === 'applied' || each.outcome === 'refused')).toBe(true)
      const [available, held, total] = await balances()
      expect(held).toBe(0n)
      expect(available).toBe(total)
    })

    if (level !== 'settlements') return

    test('a settlement draws on the holds its debits name', async () => {
      await deposit(10n, SELLER)
      const hold = await place(60n)
      const call = settlementOf([leg('debit', BUYER, 50n, hold), leg('credit', SELLER, 50n)])
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'applied', replayed: false })
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'applied', replayed: true })
      expect(await balances()).toEqual([40n, 10n, 50n])
      const [debited = leg('debit', BUYER, 50n), ...rest] = call.legs
      const { hold: _, ...without } = debited
      expect(await wallet.settle({ ...call, legs: [without, ...rest] })).toMatchObject({
        code: 'IDEMPOTENCY_KEY_REUSED',
      })
      expect(await wallet.reverse(call.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await balances()).toEqual([90n, 10n, 100n])
    })

    test('funds are checked on the sum per account, with what is drawn', async () => {
      const hold = await place(60n)
      await place(40n)
      // Nothing is available: 90 of the 60 held and the 30 that come in.
      const legs = [leg('debit', BUYER, 50n, hold), leg('debit', BUYER, 40n, hold), leg('credit', BUYER, 30n)]
      const whole = settlementOf([...legs, leg('credit', SELLER, 60n)])
      expect(await wallet.settle(whole)).toMatchObject({ outcome: 'applied' })
      expect(await balances()).toEqual([0n, 40n, 40n])
      const more = settlementOf([leg('debit', BUYER, 5n, hold), leg('credit', BUYER, 3n), leg('credit', SELLER, 2n)])
      expect(await wallet.settle(more)).toMatchObject(short(0n, 2n))
      expect(await balances()).toEqual([0n, 40n, 40n])
    })

    test('a settlement draws on a hold although as much comes in', async () => {
      const hold = await place(60n)
      const call = settlementOf([leg('credit', BUYER, 20n), leg('debit', BUYER, 20n, hold)])
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'applied' })
      expect(await balances()).toEqual([60n, 40n, 100n])
    })

    test('a settlement that names a hold which is not there applies none of its legs', async () => {
      const hold = await place(60n)
      for (const wrong of ['nowhere', hold]) {
        const call = settlementOf([
          leg('debit', BUYER, 10n, hold),
          leg('debit', SELLER, 1n, wrong),
          leg('credit', FEES, 11n),
        ])
        expect(await wallet.settle(call)).toMatchObject(refused('HOLD_NOT_FOUND'))
        expect(await wallet.settle(call)).toMatchObject(refused('HOLD_NOT_FOUND'))
      }
      expect(await balances()).toEqual([40n, 60n, 100n])
    })

    test('a credit of a settlement names no hold', async () => {
      const hold = await place(60n)
      const call = settlementOf([leg('debit', BUYER, 10n), leg('credit', BUYER, 10n, hold)])
      expect(await wallet.settle(call)).toMatchObject(refused('INVALID_REQUEST'))
    })
  })

  test(`${name} has no holds at level basic, and takes no call that names one`, async () => {
    const wallet = await make('basic')
    expect(await wallet.capabilities()).toMatchObject({ holds: false })
    await expect(wallet.hold(holdOf(1n))).rejects.toThrow('a wallet without holds')
    await expect(wallet.release(releaseOf('hold'))).rejects.toThrow('a wallet without holds')
    const named = await wallet.apply(debit(1n, { hold: 'hold' }))
    expect(named).toMatchObject({ outcome: 'refused', code: 'INVALID_REQUEST' })
  })
}
