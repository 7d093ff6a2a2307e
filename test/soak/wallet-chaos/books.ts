/** The wallet's books, read back over HTTP when all is at rest. */
import assert from 'node:assert/strict'
import { parseStored } from '../../../src/core/money.ts'
import type { UpServer } from '../../support/process.ts'
import { FEES } from '../../support/trades.ts'
import { allPages, read } from '../../support/wallet-rig.ts'
import { CURRENCIES, USERS } from './plan.ts'
import { type Problem, SCALE } from './wire.ts'

/** `GET /v1/operations/{key}`. */
export interface KeyView {
  readonly type: 'debit' | 'credit' | 'settlement' | 'reversal' | 'hold' | 'release'
  readonly status: 'applied' | 'refused' | 'reversed' | 'cancelled'
  readonly trade_id: string | null
  readonly user_id?: string
  readonly currency?: string
  readonly amount?: string
  readonly reason?: string
  readonly hold?: string
  readonly remaining?: string
  readonly balance_after?: string
  readonly applied_at?: string
  readonly problem?: Problem
}

export interface EntryView {
  readonly key: string
  readonly leg: number | null
  readonly trade_id: string | null
  readonly amount: string
  readonly balance_after: string
  readonly reason: string
  readonly at: string
}

export interface Totals {
  readonly currency: string
  readonly balances: string
  readonly clearing: string
  readonly deposits: string
  readonly withdrawals: string
}

export interface BookAccount {
  readonly userId: string
  readonly currency: string
  readonly total: bigint
  readonly held: bigint
  /** Oldest first; the number of each is its place. */
  readonly entries: readonly EntryView[]
}

export interface Books {
  /** By `accountName`. */
  readonly accounts: ReadonlyMap<string, BookAccount>
  /** Of those that were used. */
  readonly keys: ReadonlyMap<string, KeyView>
  readonly totals: readonly Totals[]
}

export function accountName(userId: string, currency: string): string {
  return `${userId} ${currency}`
}

export function units(text: string): bigint {
  return parseStored(text, SCALE)
}

export async function readBooks(wallet: UpServer, keys: readonly string[]): Promise<Books> {
  const accounts = new Map<string, BookAccount>()
  for (const userId of [...USERS, FEES]) {
    for (const currency of CURRENCIES) {
      accounts.set(accountName(userId, currency), await readAccount(wallet, userId, currency))
    }
  }
  const views = new Map<string, KeyView>()
  for (let at = 0; at < keys.length; at += 32) {
    const some = keys.slice(at, at + 32)
    const answers = await Promise.all(some.map(async key => await wallet.get(`/v1/operations/${key}`)))
    for (const [index, { status, body }] of answers.entries()) {
      const key = some[index] ?? ''
      assert.ok(status === 200 || status === 404, `${key}: ${status}`)
      if (status === 200) views.set(key, body as KeyView)
    }
  }
  return { accounts, keys: views, totals: await readTotals(wallet) }
}

async function readAccount(wallet: UpServer, userId: string, currency: string): Promise<BookAccount> {
  const entries = await allPages(
    wallet,
    `/v1/entries?user_id=${userId}&currency=${currency}&limit=1000`,
    (page: { readonly entries: readonly EntryView[]; readonly next_cursor: string | null }) => page.entries,
  )
  const path = `/v1/balances/${userId}/${currency}`
  const { total, held, available } = await read<Readonly<Record<'total' | 'held' | 'available', string>>>(wallet, path)
  assert.equal(units(total), units(held) + units(available), path)
  return { userId, currency, total: units(total), held: units(held), entries }
}

export async function readTotals(wallet: UpServer): Promise<readonly Totals[]> {
  const { totals } = await read<{ readonly totals: readonly Totals[] }>(wallet, '/v1/totals')
  return totals
}

export function assertConserved(totals: readonly Totals[]): void {
  for (const { currency, balances, clearing, deposits, withdrawals } of totals) {
    const isConserved = units(balances) + units(clearing) === units(deposits) - units(withdrawals)
    assert.ok(isConserved, `money is conserved in ${currency}: ${JSON.stringify(totals)}`)
  }
}

/** What the books have to say of themselves, whatever was called. */
export function assertWhole({ accounts, keys, totals }: Books): void {
  assertConserved(totals)
  const [done, held, sums] = [new Set<string>(), new Map<string, bigint>(), new Map<string, bigint>()]
  for (const { type, status, user_id: user = '', currency = '', remaining = '0' } of keys.values()) {
    if (type !== 'hold' || status === 'refused' || status === 'cancelled') continue
    const name = accountName(user, currency)
    held.set(name, (held.get(name) ?? 0n) + units(remaining))
  }
  for (const [name, account] of accounts) {
    let balance = 0n
    for (const entry of account.entries) {
      balance += units(entry.amount)
      assert.equal(units(entry.balance_after), balance, `${name}: ${JSON.stringify(entry)} follows from those before`)
      assert.ok(balance >= 0n || account.userId === FEES, `${name} is never below zero: ${JSON.stringify(entry)}`)
      const effect = `${entry.key} ${entry.leg} ${entry.reason === 'SETTLEMENT_ROLLBACK' ? 'undone' : 'done'}`
      assert.ok(!done.has(effect), `a key has one effect, and is undone once: ${effect}`)
      done.add(effect)
    }
    assert.equal(account.total, balance, `the balance of ${name} is what its entries come to`)
    assert.equal(account.held, held.get(name) ?? 0n, `what is held on ${name} is what remains of its holds`)
    assert.ok(account.held <= account.total || account.userId === FEES, `${name} holds no more than there is`)
    sums.set(account.currency, (sums.get(account.currency) ?? 0n) + balance)
  }
  for (const { currency, balances } of totals) {
    assert.equal(units(balances), sums.get(currency) ?? 0n, `the balances of all accounts in ${currency}`)
  }
}
