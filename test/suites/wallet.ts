import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { BookedWallet, Movement, Operation, SettlementCall, WalletLevel } from '../../src/wallet/wallet.ts'
import { BUYER, FEES, SELLER } from '../support/trades.ts'

/** Makes an empty wallet of BTC and USDT (scale 8 each) whose fee account is `FEES`. */
export type MakeWallet = (level: WalletLevel) => Promise<BookedWallet>

const TRADE = '00000000-0000-4000-9000-00000000aaaa'
const OTHER = '00000000-0000-4000-8000-00000000000c'

/** What an amount of 38 digits is in the smallest unit. */
const MOST = (10n ** 38n - 1n) * 10n ** 8n

let made = 0

function operation(change: Partial<Operation> = {}): Operation {
  made++
  return {
    key: `${TRADE}:0:key-${made}`,
    tradeId: TRADE,
    type: 'credit',
    userId: BUYER,
    currency: 'USDT',
    amount: 100n,
    reason: 'TRADE_SETTLEMENT',
    ...change,
  }
}

function settlement(change: Partial<SettlementCall> = {}): SettlementCall {
  made++
  const move = (type: Movement['type'], userId: string, currency: string, amount: bigint): Movement => ({
    type,
    userId,
    currency,
    amount,
    reason: userId === FEES ? 'FEE_COLLECTION' : 'TRADE_SETTLEMENT',
  })
  return {
    key: `${TRADE}:${made}`,
    tradeId: TRADE,
    legs: [
      move('debit', BUYER, 'USDT', 50n),
      move('credit', BUYER, 'BTC', 2n),
      move('debit', SELLER, 'BTC', 2n),
      move('credit', SELLER, 'USDT', 45n),
      move('credit', FEES, 'USDT', 5n),
    ],
    ...change,
  }
}

/** What a way to reach a wallet can't carry. */
export interface WalletSuiteOptions {
  /** Keys of single calls travel in a header, which loses the spaces at its ends. */
  readonly keysInHeaders?: boolean
}

/** The promises of wallet-protocol.md, as far as the port shows them; every implementation keeps all of them. */
export function walletSuite(name: string, make: MakeWallet, options: WalletSuiteOptions = {}): void {
  describe.each<WalletLevel>(['basic', 'reversals', 'batch', 'settlements'])(`${name} at level %s`, level => {
    let wallet: BookedWallet
    const remembers = level !== 'basic'

    beforeEach(async () => {
      wallet = await make(level)
    })

    async function deposit(userId: string, currency: string, amount: bigint): Promise<void> {
      const outcome = await wallet.apply(operation({ userId, currency, amount, reason: 'DEPOSIT', tradeId: null }))
      expect(outcome.outcome).toBe('applied')
    }

    async function totalOf(userId: string, currency: string): Promise<bigint | undefined> {
      return (await wallet.balance(userId, currency))?.total
    }

    async function expectConserved(): Promise<void> {
      for (const { balances, clearing, deposits, withdrawals } of await wallet.totals()) {
        expect(balances + clearing).toBe(deposits - withdrawals)
      }
    }

    test('says what level it keeps', async () => {
      expect((await wallet.capabilities()).level).toBe(level)
    })

    test('an account that was never used has zeros; an unknown currency has none', async () => {
      expect(await wallet.balance(OTHER, 'BTC')).toEqual({
        userId: OTHER,
        currency: 'BTC',
        available: 0n,
        held: 0n,
        total: 0n,
      })
      expect(await wallet.balance(OTHER, 'DOGE')).toBeNull()
    })

    test('W-1 a debit takes what is there, and answers the balance after it', async () => {
      await deposit(BUYER, 'USDT', 100n)
      const outcome = await wallet.apply(operation({ type: 'debit', amount: 60n }))
      expect(outcome).toMatchObject({ outcome: 'applied', replayed: false, done: { balanceAfter: 40n } })
      expect(await totalOf(BUYER, 'USDT')).toBe(40n)
      await expectConserved()
    })

    test('W-1 a debit of more than is there is refused, says what was there and what was asked, and changes nothing', async () => {
      await deposit(BUYER, 'USDT', 100n)
      const outcome = await wallet.apply(operation({ type: 'debit', amount: 101n }))
      expect(outcome).toMatchObject({
        outcome: 'refused',
        code: 'INSUFFICIENT_BALANCE',
        amounts: { currency: 'USDT', available: 100n, required: 101n },
      })
      expect(await totalOf(BUYER, 'USDT')).toBe(100n)
    })

    test('trap 2: the same call under its key moves money once, however often and however close together', async () => {
      const credit = operation({ amount: 7n })
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => wallet.apply(credit)))
      expect(outcomes.filter(each => each.outcome === 'applied' && !each.replayed)).toHaveLength(1)
      expect(outcomes.filter(each => each.outcome === 'applied' && each.replayed)).toHaveLength(19)
      expect(new Set(outcomes.map(each => each.outcome === 'applied' && each.done.balanceAfter))).toEqual(new Set([7n]))
      expect(await totalOf(BUYER, 'USDT')).toBe(7n)
    })

    test.each<[string, Partial<Operation>]>([
      ['amount', { amount: 101n }],
      ['type', { type: 'debit' }],
      ['user', { userId: SELLER }],
      ['currency', { currency: 'BTC' }],
      ['reason', { reason: 'FEE_COLLECTION' }],
      ['trade', { tradeId: OTHER }],
    ])('a key used again with another %s is a fault and moves nothing', async (_, change) => {
      const credit = operation()
      await wallet.apply(credit)
      expect(await wallet.apply({ ...credit, ...change })).toMatchObject({
        outcome: 'fault',
        code: 'IDEMPOTENCY_KEY_REUSED',
      })
      expect(await totalOf(BUYER, 'USDT')).toBe(100n)
      expect(await totalOf(SELLER, 'USDT')).toBe(0n)
    })

    test(`a refusal ${remembers ? 'spends the key: a late duplicate does not succeed' : 'is not remembered'}`, async () => {
      const debit = operation({ type: 'debit', amount: 10n })
      expect(await wallet.apply(debit)).toMatchObject({ outcome: 'refused', code: 'INSUFFICIENT_BALANCE' })
      await deposit(BUYER, 'USDT', 100n)
      expect((await wallet.apply(debit)).outcome).toBe(remembers ? 'refused' : 'applied')
    })

    test('an unknown currency is refused', async () => {
      expect(await wallet.apply(operation({ currency: 'DOGE' }))).toMatchObject({
        outcome: 'refused',
        code: 'UNKNOWN_CURRENCY',
      })
    })

    test.each<[string, string, Partial<Operation>]>([
      ['an empty key', 'INVALID_REQUEST', { key: '' }],
      ['a key of 129 characters', 'INVALID_REQUEST', { key: 'k'.repeat(129) }],
      ['a key with a line break', 'INVALID_REQUEST', { key: 'a\nb' }],
      ['no trade', 'INVALID_REQUEST', { tradeId: null }],
      ['an amount of zero', 'INVALID_AMOUNT', { amount: 0n }],
      ['an amount below zero', 'INVALID_AMOUNT', { amount: -1n }],
      ['a user that is no UUID', 'INVALID_REQUEST', { userId: 'bob' }],
    ])('%s is refused as a request and leaves no trace', async (_, code, change) => {
      expect(await wallet.apply(operation(change))).toMatchObject({ outcome: 'refused', code })
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
    })

    test('a balance may have more digits than any amount', async () => {
      await deposit(BUYER, 'USDT', MOST)
      await deposit(BUYER, 'USDT', MOST)
      expect(await wallet.apply(operation({ amount: 1n }))).toMatchObject({ done: { balanceAfter: 2n * MOST + 1n } })
      expect(await totalOf(BUYER, 'USDT')).toBe(2n * MOST + 1n)
      await expectConserved()
    })

    test('W-5 the fee account alone may go below zero', async () => {
      const rebate = operation({ type: 'debit', userId: FEES, amount: 5n, reason: 'FEE_COLLECTION' })
      expect(await wallet.apply(rebate)).toMatchObject({ outcome: 'applied', done: { balanceAfter: -5n } })
      await expectConserved()
    })

    test('a debit and a credit without their other halves stand in the clearing account', async () => {
      await deposit(BUYER, 'USDT', 100n)
      await wallet.apply(operation({ type: 'debit', amount: 30n }))
      const half = (await wallet.totals()).find(each => each.currency === 'USDT')
      expect(half).toEqual({ currency: 'USDT', balances: 70n, clearing: 30n, deposits: 100n, withdrawals: 0n })
      await wallet.apply(operation({ type: 'credit', userId: SELLER, amount: 30n }))
      const whole = (await wallet.totals()).find(each => each.currency === 'USDT')
      expect(whole).toEqual({ currency: 'USDT', balances: 100n, clearing: 0n, deposits: 100n, withdrawals: 0n })
    })

    test('what is withdrawn leaves the books', async () => {
      await deposit(BUYER, 'USDT', 100n)
      await wallet.apply(operation({ type: 'debit', amount: 30n, reason: 'WITHDRAWAL', tradeId: null }))
      const totals = (await wallet.totals()).find(each => each.currency === 'USDT')
      expect(totals).toEqual({ currency: 'USDT', balances: 70n, clearing: 0n, deposits: 100n, withdrawals: 30n })
    })

    test('entries read back: of an account and of a trade, oldest first, page by page', async () => {
      await deposit(BUYER, 'USDT', 100n)
      const debit = operation({ type: 'debit', amount: 30n })
      await wallet.apply(debit)
      await wallet.apply(operation({ type: 'credit', userId: SELLER, amount: 30n }))
      const of = { userId: BUYER, currency: 'USDT' }
      const entries = await wallet.entries({ of, after: null, limit: 10 })
      expect(entries.map(({ seq, amount, balanceAfter, reason }) => ({ seq, amount, balanceAfter, reason }))).toEqual([
        { seq: 1n, amount: 100n, balanceAfter: 100n, reason: 'DEPOSIT' },
        { seq: 2n, amount: -30n, balanceAfter: 70n, reason: 'TRADE_SETTLEMENT' },
      ])
      const [first] = await wallet.entries({ of, after: null, limit: 1 })
      expect(await wallet.entries({ of, after: first ?? null, limit: 10 })).toEqual(entries.slice(1))
      const ofTrade = await wallet.entries({ of: { tradeId: TRADE }, after: null, limit: 10 })
      expect(ofTrade.map(({ userId, amount }) => [userId, amount])).toEqual([
        [BUYER, -30n],
        [SELLER, 30n],
      ])
      const [one] = ofTrade
      expect(await wallet.entries({ of: { tradeId: TRADE }, after: one ?? null, limit: 10 })).toEqual(ofTrade.slice(1))
    })

    test('calls side by side on one account never take more than there is', async () => {
      await deposit(BUYER, 'USDT', 500n)
      const debits = Array.from({ length: 12 }, () => operation({ type: 'debit', amount: 100n }))
      const outcomes = await Promise.all(debits.map(debit => wallet.apply(debit)))
      expect(outcomes.filter(each => each.outcome === 'applied')).toHaveLength(5)
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
    })

    test('keys with every printable character are kept apart', async () => {
      const isSingle = level === 'basic' || level === 'reversals'
      const spaces = options.keysInHeaders === true && isSingle ? [] : [' ']
      const keys = ['a"b', "a'b", 'a\\b', 'a,b', '{a}', 'null', 'NULL', 'a b', '$1', 'A', 'a', ...spaces]
      for (const key of keys)
        expect(await wallet.apply(operation({ key, amount: 1n }))).toMatchObject({ replayed: false })
      for (const key of keys)
        expect(await wallet.apply(operation({ key, amount: 1n }))).toMatchObject({ replayed: true })
      expect(await totalOf(BUYER, 'USDT')).toBe(BigInt(keys.length))
    })

    if (level === 'basic') return

    test('F-2 a reversal undoes what was applied, once, and refuses the key from then on', async () => {
      const credit = operation({ amount: 40n })
      await wallet.apply(credit)
      expect(await wallet.reverse(credit.key)).toMatchObject({
        outcome: 'applied',
        replayed: false,
        done: { status: 'reversed' },
      })
      expect(await wallet.reverse(credit.key)).toMatchObject({
        outcome: 'applied',
        replayed: true,
        done: { status: 'reversed' },
      })
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
      expect(await wallet.apply(credit)).toMatchObject({ outcome: 'refused', code: 'REVERSED' })
      expect(await wallet.keyRecord(credit.key)).toMatchObject({
        kind: 'credit',
        status: 'reversed',
        movement: { type: 'credit', userId: BUYER, currency: 'USDT', amount: 40n, reason: 'TRADE_SETTLEMENT' },
        balanceAfter: 40n,
        refusal: null,
      })
      await expectConserved()
    })

    test('trap 1: an original that arrives after its reversal does nothing', async () => {
      const credit = operation()
      expect(await wallet.reverse(credit.key)).toMatchObject({ done: { status: 'cancelled' } })
      expect(await wallet.apply(credit)).toMatchObject({ outcome: 'refused', code: 'REVERSED' })
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
      expect(await wallet.keyRecord(credit.key)).toMatchObject({ status: 'cancelled' })
    })

    test('a refused key can be reversed: it is cancelled', async () => {
      const debit = operation({ type: 'debit', amount: 10n })
      await wallet.apply(debit)
      expect(await wallet.reverse(debit.key)).toMatchObject({ done: { status: 'cancelled' } })
      expect(await wallet.apply(debit)).toMatchObject({ outcome: 'refused', code: 'REVERSED' })
    })

    test('trap 12: a reversal that finds the money spent changes nothing, and succeeds once it is there', async () => {
      const credit = operation({ amount: 40n })
      await wallet.apply(credit)
      const spent = operation({ type: 'debit', amount: 40n })
      await wallet.apply(spent)
      expect(await wallet.reverse(credit.key)).toMatchObject({
        outcome: 'refused',
        code: 'INSUFFICIENT_BALANCE',
        amounts: { currency: 'USDT', available: 0n, required: 40n },
      })
      expect(await wallet.keyRecord(credit.key)).toMatchObject({ status: 'applied' })
      await deposit(BUYER, 'USDT', 40n)
      expect(await wallet.reverse(credit.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
    })

    test('a deposit that is reversed leaves by the door it came in', async () => {
      const credit = operation({ reason: 'DEPOSIT', tradeId: null, amount: 9n })
      await wallet.apply(credit)
      await wallet.reverse(credit.key)
      const totals = (await wallet.totals()).find(each => each.currency === 'USDT')
      expect(totals).toEqual({ currency: 'USDT', balances: 0n, clearing: 0n, deposits: 0n, withdrawals: 0n })
    })

    test('reversals and repeats of one key side by side end in one state', async () => {
      const credit = operation({ amount: 3n })
      await Promise.all([
        ...Array.from({ length: 5 }, () => wallet.apply(credit)),
        ...Array.from({ length: 5 }, () => wallet.reverse(credit.key)),
        ...Array.from({ length: 5 }, () => wallet.apply(credit)),
      ])
      expect(await totalOf(BUYER, 'USDT')).toBe(0n)
      await expectConserved()
    })

    // A batch is many calls of the port: only the atomic rail asks for more.
    if (level !== 'settlements') return

    test('W-7 a settlement applies all its legs at once', async () => {
      await deposit(BUYER, 'USDT', 50n)
      await deposit(SELLER, 'BTC', 2n)
      const call = settlement()
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'applied', replayed: false })
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'applied', replayed: true })
      expect(await totalOf(BUYER, 'BTC')).toBe(2n)
      expect(await totalOf(SELLER, 'USDT')).toBe(45n)
      expect(await totalOf(FEES, 'USDT')).toBe(5n)
      const entries = await wallet.entries({ of: { tradeId: TRADE }, after: null, limit: 10 })
      expect(entries.map(entry => entry.leg)).toEqual([0, 1, 2, 3, 4])
      expect((await wallet.totals()).every(({ clearing }) => clearing === 0n)).toBe(true)
    })

    test('W-7 a settlement one of whose accounts falls short applies none of its legs', async () => {
      await deposit(BUYER, 'USDT', 50n)
      await deposit(SELLER, 'BTC', 1n)
      const call = settlement()
      expect(await wallet.settle(call)).toMatchObject({
        outcome: 'refused',
        code: 'INSUFFICIENT_BALANCE',
        amounts: { currency: 'BTC', available: 1n, required: 2n },
      })
      expect(await totalOf(BUYER, 'USDT')).toBe(50n)
      await deposit(SELLER, 'BTC', 1n)
      expect((await wallet.settle(call)).outcome).toBe('refused')
    })

    test('funds are checked on the sum per account, not leg by leg', async () => {
      const move = (type: Movement['type'], userId: string): Movement => ({
        type,
        userId,
        currency: 'USDT',
        amount: 5n,
        reason: 'TRADE_SETTLEMENT',
      })
      const call = settlement({ legs: [move('debit', BUYER), move('credit', BUYER)] })
      expect((await wallet.settle(call)).outcome).toBe('applied')
    })

    test('legs that do not sum to zero are refused as a request', async () => {
      const [, ...legs] = settlement().legs
      expect(await wallet.settle(settlement({ legs }))).toMatchObject({ outcome: 'refused', code: 'INVALID_REQUEST' })
      expect(await wallet.settle(settlement({ legs: [] }))).toMatchObject({
        outcome: 'refused',
        code: 'INVALID_REQUEST',
      })
    })

    test('a settlement key used again with other legs is a fault', async () => {
      await deposit(BUYER, 'USDT', 500n)
      await deposit(SELLER, 'BTC', 20n)
      const call = settlement()
      await wallet.settle(call)
      const legs = call.legs.map(leg => ({ ...leg, amount: leg.amount * 2n }))
      expect(await wallet.settle({ ...call, legs })).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
      expect(await wallet.apply(operation({ key: call.key }))).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
    })

    test('a reversal takes back all legs of a settlement, or none', async () => {
      await deposit(BUYER, 'USDT', 50n)
      await deposit(SELLER, 'BTC', 2n)
      const call = settlement()
      await wallet.settle(call)
      const spent = operation({ type: 'debit', userId: BUYER, currency: 'BTC', amount: 1n })
      await wallet.apply(spent)
      expect(await wallet.reverse(call.key)).toMatchObject({ outcome: 'refused' })
      expect(await totalOf(SELLER, 'USDT')).toBe(45n)
      await wallet.reverse(spent.key)
      expect(await wallet.reverse(call.key)).toMatchObject({ done: { status: 'reversed' } })
      expect(await totalOf(BUYER, 'USDT')).toBe(50n)
      expect(await totalOf(SELLER, 'BTC')).toBe(2n)
      expect(await totalOf(FEES, 'USDT')).toBe(0n)
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'refused', code: 'REVERSED' })
      await expectConserved()
    })

    test('a settlement reversed before it arrived never arrives', async () => {
      await deposit(BUYER, 'USDT', 50n)
      await deposit(SELLER, 'BTC', 2n)
      const call = settlement()
      expect(await wallet.reverse(call.key)).toMatchObject({ done: { status: 'cancelled' } })
      expect(await wallet.settle(call)).toMatchObject({ outcome: 'refused', code: 'REVERSED' })
      expect(await totalOf(BUYER, 'USDT')).toBe(50n)
    })
  })
}

/**
 * Any list of calls gets the same answers and leaves the same books on both wallets; `reference` is the model. What `make`
 * makes is several processes on the same books: without `together` each call goes to the next of them.
 */
export function walletsAgree(
  name: string,
  make: (level: WalletLevel) => Promise<readonly BookedWallet[]>,
  makeReference: MakeWallet,
): void {
  test(`${name} answers any calls as the reference model does`, { timeout: 120_000 }, async () => {
    const users = [BUYER, SELLER, FEES, OTHER]
    const KEYS = 24
    const user = fc.constantFrom(...users)
    const currency = fc.constantFrom('BTC', 'USDT', 'DOGE')
    const amount = fc.bigInt({ min: 1n, max: 12n })
    const key = fc.nat({ max: KEYS - 1 }).map(at => `key-${at}`)
    const type = fc.constantFrom('debit' as const, 'credit' as const)
    const isOutside = fc.boolean()
    const hold = fc.option(key, { freq: 2 })
    const only = fc.constantFrom(undefined, 'settlement' as const)
    // Holds that meet debits of their own account, whose keys are nobody else's.
    const at = fc.nat({ max: 3 })
    const call = fc.oneof(
      fc.record({ kind: fc.constant('apply' as const), key, type, user, currency, amount, isOutside, hold }),
      fc.record({ kind: fc.constant('settle' as const), key, from: user, to: user, currency, amount, hold }),
      fc.record({ kind: fc.constant('reverse' as const), key, only }),
      fc.record({ kind: fc.constant('hold' as const), key, user, currency, amount }),
      fc.record({ kind: fc.constant('release' as const), key, of: key, amount: fc.option(amount) }),
      fc.record({ kind: fc.constant('own hold' as const), at, amount }),
      fc.record({ kind: fc.constant('own debit' as const), key, at, amount }),
      fc.record({ kind: fc.constant('own release' as const), key, at, amount: fc.option(amount) }),
      fc.record({ kind: fc.constant('own reversal' as const), at }),
    )
    const ownHold = (at: number) => ({ key: `hold-${at}`, userId: at % 2 === 0 ? BUYER : SELLER, currency: 'USDT' })
    const property = fc.asyncProperty(
      fc.array(call, { maxLength: 60, size: 'max' }),
      fc.boolean(),
      async (calls, together) => {
        const [wallets, reference] = [await make('settlements'), await makeReference('settlements')]
        const [wallet] = wallets
        if (wallet === undefined) throw new Error('no wallet was made')
        const run = async (on: BookedWallet, each: (typeof calls)[number]): Promise<unknown> => {
          switch (each.kind) {
            case 'apply': {
              const outside = each.type === 'debit' ? ('WITHDRAWAL' as const) : ('DEPOSIT' as const)
              const reason = each.isOutside ? outside : ('TRADE_SETTLEMENT' as const)
              const { key, type, currency, amount } = each
              const operation = { key, tradeId: TRADE, type, userId: each.user, currency, amount, reason }
              return await on.apply(each.hold === null ? operation : { ...operation, hold: each.hold })
            }
            case 'settle': {
              const leg = { currency: each.currency, amount: each.amount, reason: 'TRADE_SETTLEMENT' } as const
              const debited = { ...leg, type: 'debit', userId: each.from } as const
              const legs = [
                each.hold === null ? debited : { ...debited, hold: each.hold },
                { ...leg, type: 'credit', userId: each.to },
              ] as const
              return await on.settle({ key: each.key, tradeId: TRADE, legs })
            }
            case 'reverse':
              return await on.reverse(each.key, each.only)
            case 'hold': {
              const { key, user: userId, currency, amount } = each
              return await on.hold({ key, userId, currency, amount })
            }
            case 'release': {
              const amountAtto = each.amount === null ? null : each.amount * 10n ** 10n
              return await on.release({ key: each.key, hold: each.of, amountAtto })
            }
            case 'own hold':
              return await on.hold({ ...ownHold(each.at), amount: each.amount })
            case 'own debit': {
              const { key: hold, ...account } = ownHold(each.at)
              const { key, amount } = each
              const operation = { key, tradeId: TRADE, type: 'debit', ...account, amount, hold } as const
              return await on.apply({ ...operation, reason: 'TRADE_SETTLEMENT' })
            }
            case 'own release': {
              const amountAtto = each.amount === null ? null : each.amount * 10n ** 10n
              return await on.release({ key: each.key, hold: ownHold(each.at).key, amountAtto })
            }
            case 'own reversal':
              return await on.reverse(ownHold(each.at).key)
          }
        }
        const answersOf = async (ons: readonly BookedWallet[]): Promise<readonly unknown[]> => {
          const [first] = ons
          if (together && first !== undefined) return await Promise.all(calls.map(each => run(first, each)))
          const answers: unknown[] = []
          for (const [at, each] of calls.entries()) answers.push(await run(ons[at % ons.length] as BookedWallet, each))
          return answers
        }
        for (const on of [wallet, reference]) {
          for (const userId of [BUYER, SELLER]) {
            const funds = { key: `funds ${userId}`, tradeId: null, userId, currency: 'USDT', amount: 20n } as const
            await on.apply({ ...funds, type: 'credit', reason: 'DEPOSIT' })
          }
        }
        expect((await answersOf(wallets)).map(withoutWords)).toEqual((await answersOf([reference])).map(withoutWords))
        expect(await wallet.totals()).toEqual(await reference.totals())
        for (let at = 0; at < KEYS; at++) {
          for (const used of [`key-${at}`, `hold-${at}`]) {
            const [record, wanted] = [await wallet.keyRecord(used), await reference.keyRecord(used)]
            expect(withoutWords(record)).toEqual(withoutWords(wanted))
          }
        }
        for (const userId of users) {
          for (const code of ['BTC', 'USDT']) {
            expect(await wallet.balance(userId, code)).toEqual(await reference.balance(userId, code))
            const query = { of: { userId, currency: code }, after: null, limit: 1000 }
            const bare = (entries: readonly object[]) => entries.map(entry => ({ ...entry, atMs: 0 }))
            expect(bare(await wallet.entries(query))).toEqual(bare(await reference.entries(query)))
          }
        }
      },
    )
    await fc.assert(property, { numRuns: 60, seed: 20261124 })
  })
}

/** Times and the words of a refusal are each wallet's own. */
function withoutWords(answer: unknown): unknown {
  return JSON.parse(
    JSON.stringify(answer, (name, value) => {
      if (name === 'detail' || name === 'appliedAtMs' || name === 'atMs') return undefined
      return typeof value === 'bigint' ? `${value}` : value
    }),
  )
}
