/** Calls as requests, and answers as what they say of each call in them. */
import assert from 'node:assert/strict'
import { formatDecimal, MAX_SCALE } from '../../../src/core/money.ts'
import type { Movement } from '../../../src/wallet/wallet.ts'
import { ADMIN_KEY } from '../../support/process.ts'
import { type RawAnswer, request } from '../../support/raw-http.ts'
import { type Item, keyOf, type LedgerCall, type Step } from './plan.ts'

/** Both assets of these tests have it. */
export const SCALE = 8

/** What an answer says of one call. Amounts are texts, as they came. */
export type Said =
  | { readonly is: 'applied'; readonly replayed: boolean; readonly body: Readonly<Record<string, unknown>> }
  | {
      readonly is: 'refused'
      readonly code: string
      readonly currency: string | null
      readonly available: string | null
      readonly required: string | null
    }

export interface Problem {
  readonly code: string
  readonly currency?: string
  readonly available?: string
  readonly required?: string
}

/** @param isOdd writes amounts with zeros at their ends: they are the same by value. */
export function requestOf({ kind, items }: Step, isOdd: boolean): string {
  const headers = { authorization: `Bearer ${ADMIN_KEY}` }
  const [item] = items
  assert.ok(item !== undefined)
  if (kind === 'batch') {
    return request('POST', '/v1/batch', { operations: items.map(({ call }) => batched(call, isOdd)) }, headers)
  }
  if (kind === 'settlements' || item.call.kind === 'settlement') {
    const settlements = items.map(({ call }) => ({ key: keyOf(call), ...bodyOf(call, isOdd) }))
    return request('POST', '/v1/settlements', { settlements }, headers)
  }
  const { call } = item
  const key = call.kind === 'reversal' ? {} : { 'idempotency-key': keyOf(call) }
  return request('POST', pathOf(call), bodyOf(call, isOdd), { ...headers, ...key })
}

function pathOf(call: LedgerCall): string {
  switch (call.kind) {
    case 'operation':
      return `/v1/${call.operation.type}s`
    case 'settlement':
      return '/v1/settlements'
    case 'reversal':
      return '/v1/reversals'
    case 'hold':
      return '/v1/holds'
    case 'release':
      return '/v1/holds/release'
  }
}

function batched(call: LedgerCall, isOdd: boolean): object {
  assert.ok(call.kind === 'operation' || call.kind === 'reversal')
  if (call.kind === 'reversal') return { type: 'reversal', ...bodyOf(call, isOdd) }
  return { key: call.operation.key, type: call.operation.type, ...bodyOf(call, isOdd) }
}

function bodyOf(call: LedgerCall, isOdd: boolean): object {
  const text = (amount: bigint, scale = SCALE): string => {
    const plain = formatDecimal(amount, scale)
    if (!isOdd) return plain
    return plain.includes('.') ? `${plain}0` : `${plain}.0`
  }
  const moved = ({ userId, currency, amount, reason, hold }: Movement): object => ({
    user_id: userId,
    ...{ currency, amount: text(amount), reason },
    ...(hold === undefined ? {} : { hold }),
  })
  switch (call.kind) {
    case 'operation': {
      const { tradeId } = call.operation
      return { ...moved(call.operation), ...(tradeId === null ? {} : { trade_id: tradeId }) }
    }
    case 'settlement': {
      const { tradeId, legs } = call.settlement
      return { trade_id: tradeId, legs: legs.map(leg => ({ type: leg.type, ...moved(leg) })) }
    }
    case 'reversal':
      return { key: call.key, reason: 'SETTLEMENT_ROLLBACK' }
    case 'hold': {
      const { userId, currency, amount } = call.hold
      return { user_id: userId, currency, amount: text(amount) }
    }
    case 'release': {
      const { hold, amountAtto } = call.release
      return amountAtto === null ? { key: hold } : { key: hold, amount: text(amountAtto, MAX_SCALE) }
    }
  }
}

/** One for each item; null: it says nothing yet, and the call has to be made again. */
export function saidOf({ kind, items }: Step, { status, body }: RawAnswer): readonly (Said | null)[] {
  if (MEANS_AGAIN.has(status)) return items.map(() => null)
  const read: unknown = JSON.parse(body)
  const isList = kind !== 'single' || items[0]?.call.kind === 'settlement'
  if (!isList) return [saidOfOne(items[0], read, status)]
  assert.equal(status, 200, body)
  const { results } = read as { readonly results: readonly unknown[] }
  assert.equal(results.length, items.length, 'a batch is answered one for one')
  return items.map((item, at) => saidOfOne(item, results[at], null))
}

const MEANS_AGAIN: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/** @param status of a call that was alone. */
function saidOfOne(item: Item | undefined, read: unknown, status: number | null): Said | null {
  assert.ok(item !== undefined)
  const body = read as Readonly<Record<string, unknown>> & { readonly problem?: Problem & { readonly status: number } }
  const problem =
    status === null ? body.problem : status >= 400 ? (read as Problem & { readonly status: number }) : undefined
  if (problem !== undefined) {
    if (MEANS_AGAIN.has(problem.status) || problem.code === 'IN_PROGRESS') return null
    const { code, currency = null, available = null, required = null } = problem
    assert.ok(problem.status < 500 && typeof code === 'string', JSON.stringify(read))
    return { is: 'refused', code, currency, available, required }
  }
  const { replayed } = body
  assert.ok(typeof replayed === 'boolean', JSON.stringify(read))
  const named = item.call.kind === 'release' ? item.call.release.hold : keyOf(item.call)
  assert.equal(body['key'], named, 'an answer names the key')
  if (status !== null && item.call.kind !== 'reversal' && item.call.kind !== 'release') {
    assert.equal(status, replayed ? 200 : 201, 'the status says whether it is a repetition')
  }
  return { is: 'applied', replayed, body }
}
