import { createHash } from 'node:crypto'
import type { Asset } from '../core/market.ts'
import { formatDecimal } from '../core/money.ts'
import type { Answer, Call, Caller } from './caller.ts'
import type { Claims } from './claims.ts'
import { expectApplied, expectThat, isSame, read } from './expect.ts'

/** A debit or credit as it stands in a batch. A single call has its type in the path and its key in the header. */
export interface Item {
  readonly type: 'debit' | 'credit'
  readonly key: string
  readonly user_id: string
  readonly currency: string
  readonly amount: string
  readonly reason: string
  readonly trade_id?: string
  readonly hold?: string
}

export type Leg = Omit<Item, 'key' | 'trade_id'>

export interface Settlement {
  readonly key: string
  readonly trade_id: string
  readonly legs: readonly Leg[]
}

/** What promises are tried with: users and keys that nobody has used yet, and calls to the wallet. */
export interface Trial {
  readonly claims: Claims
  /** What accounts are in, unless another is named. */
  readonly asset: Asset
  /** Another one; the same where the wallet has only one. */
  readonly other: Asset
  /** A well-formed code of no currency. */
  readonly unknownCurrency: string
  user(): string
  key(): string
  trade(): string
  /** Units of the smallest place as a decimal text. */
  text(units: number | bigint, asset?: Asset): string
  /** Not sent yet; under a new key, for a new trade. */
  credit(user: string, units: number | bigint, change?: Partial<Item>): Item
  debit(user: string, units: number | bigint, change?: Partial<Item>): Item
  leg(type: Leg['type'], user: string, units: number | bigint, asset?: Asset): Leg
  settlement(...legs: readonly Leg[]): Settlement
  call(call: Call): Promise<Answer>
  get(path: string): Promise<Answer>
  post(path: string, body: unknown, key?: string): Promise<Answer>
  /** A debit or credit by itself. */
  send(item: Item): Promise<Answer>
  reverse(key: string): Promise<Answer>
  batch(operations: readonly unknown[]): Promise<Answer>
  settle(...settlements: readonly unknown[]): Promise<Answer>
  /** A new user who has so much. */
  funded(units: number | bigint, asset?: Asset): Promise<string>
  deposit(user: string, units: number | bigint, asset?: Asset): Promise<void>
  balance(user: string, asset?: Asset): Promise<Answer>
  /** The account holds exactly so much in total. */
  expectTotal(user: string, units: number | bigint, asset?: Asset): Promise<void>
}

export interface TrialOptions {
  /** Names the run; all ids follow from it. */
  readonly run: string
  readonly caller: Caller
  readonly claims: Claims
}

export function createTrial({ run, caller, claims }: TrialOptions): Trial {
  let made = 0
  const next = (): string => `conformance:${run}:${++made}`
  const id = (): string => uuidOf(next())
  const [asset, other = asset] = claims.assets

  const text: Trial['text'] = (units, { scale } = asset) => formatDecimal(BigInt(units), scale)
  const item = (type: Item['type'], user: string, units: number | bigint, change: Partial<Item>): Item => ({
    ...{ type, key: next(), user_id: user, currency: asset.code, amount: text(units) },
    ...{ reason: 'TRADE_SETTLEMENT', trade_id: id() },
    ...change,
  })
  const post: Trial['post'] = (path, body, key) =>
    caller({ method: 'POST', path, body, ...(key === undefined ? {} : { key }) })
  const get: Trial['get'] = path => caller({ method: 'GET', path })
  const send: Trial['send'] = ({ type, key, ...body }) => post(`/v1/${type}s`, body, key)
  const balance: Trial['balance'] = (user, { code } = asset) => get(`/v1/balances/${user}/${code}`)
  const deposit: Trial['deposit'] = async (user, units, inAsset = asset) => {
    const { trade_id: _, ...body } = item('credit', user, units, {
      ...{ currency: inAsset.code, amount: text(units, inAsset), reason: 'DEPOSIT' },
    })
    expectApplied(await send(body), body)
  }

  return {
    ...{ claims, asset, other, text, post, get, send, balance, deposit },
    unknownCurrency: `X${createHash('sha256').update(run).digest('hex').slice(0, 15).toUpperCase()}`,
    user: id,
    key: next,
    trade: id,
    credit: (user, units, change = {}) => item('credit', user, units, change),
    debit: (user, units, change = {}) => item('debit', user, units, change),
    leg: (type, user, units, inAsset = asset) => {
      const amount = text(units, inAsset)
      return { type, user_id: user, currency: inAsset.code, amount, reason: 'TRADE_SETTLEMENT' }
    },
    settlement: (...legs) => ({ key: next(), trade_id: id(), legs }),
    call: caller,
    reverse: key => post('/v1/reversals', { key, reason: 'SETTLEMENT_ROLLBACK' }),
    batch: operations => post('/v1/batch', { operations }),
    settle: (...settlements) => post('/v1/settlements', { settlements }),
    funded: async (units, inAsset = asset) => {
      const user = id()
      await deposit(user, units, inAsset)
      return user
    },
    expectTotal: async (user, units, inAsset = asset) => {
      const answer = await balance(user, inAsset)
      const wanted = text(units, inAsset)
      const isRight = answer.status === 200 && isSame(read(answer, 'total'), wanted)
      expectThat(isRight, `an account with a total of ${wanted} ${inAsset.code}`, answer)
    },
  }
}

/** A UUID that follows from a text, so that the accounts of a run can be found again from its name. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
