/**
 * What the wallet's calls come to, from a body that its schema has accepted to what is answered. The routes write it, and
 * so does the lean server: whatever the way in, a call is read, made and answered here.
 */
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import { formatDecimal } from '../../core/money.ts'
import { isOutside } from '../../wallet/protocol.ts'
import { isAtLeast } from '../auth.ts'
import type { Problem } from '../contract.ts'
import { problemOf } from '../problem.ts'
import type { Said } from '../said.ts'
import { problemOfOutcome, viewHold, viewOperation } from './answers.ts'
import {
  type BalanceParams,
  type BalanceView,
  type BatchResult,
  type HoldBody,
  type HoldView,
  type OperationBody,
  OperationItem,
  type OperationView,
  type ReleaseBody,
  ReversalItem,
  type ReversalView,
  SettlementItem,
  type SettlementResult,
} from './contract.ts'
import { type Check, refusedItem } from './items.ts'
import type { WalletServices } from './plugin.ts'
import { readHold, readOperation, readRelease, readSettlement, scaleOf } from './reading.ts'

/** What a call needs besides its body. */
export interface Calling extends WalletServices {
  readonly log: FastifyBaseLogger
  /** Whether the key may make deposits and withdrawals, and take them back; settlement needs no more than an operator's. */
  readonly mayDeposit: boolean
}

/** Of a request to the routes. */
export function callingOf(services: WalletServices, { log, principal }: FastifyRequest): Calling {
  return { ...services, log, mayDeposit: isAtLeast(principal, 'admin') }
}

/** A debit or credit. */
export async function applyOperation(
  body: OperationBody,
  identity: { readonly key: string; readonly type: 'debit' | 'credit' },
  { wallet, assets, log, mayDeposit }: Calling,
): Promise<Said<OperationView>> {
  if (!mayDeposit && isOutside(body.reason)) return { problem: adminNeeded(body.reason) }
  const read = readOperation(body, identity, assets)
  if ('problem' in read) return read
  const outcome = await wallet.apply(read.value)
  if (outcome.outcome !== 'applied') return { problem: problemOfOutcome(outcome, assets, log) }
  const view = viewOperation(read.value, outcome, scaleOf(assets, read.value.currency))
  return { body: view, isReplayed: outcome.replayed }
}

export async function placeHold(
  body: HoldBody,
  key: string,
  { wallet, assets, log }: Calling,
): Promise<Said<HoldView>> {
  const read = readHold(body, key, assets)
  if ('problem' in read) return read
  const outcome = await wallet.hold(read.value)
  if (outcome.outcome !== 'applied') return { problem: problemOfOutcome(outcome, assets, log) }
  return { body: viewHold(key, outcome, assets), isReplayed: outcome.replayed }
}

/** @param key of the call. */
export async function releaseHold(
  body: ReleaseBody,
  key: string,
  { wallet, assets, log }: Calling,
): Promise<Said<HoldView>> {
  const read = readRelease(body, key)
  if ('problem' in read) return read
  const outcome = await wallet.release(read.value)
  if (outcome.outcome !== 'applied') return { problem: problemOfOutcome(outcome, assets, log) }
  return { body: viewHold(body.key, outcome, assets), isReplayed: outcome.replayed }
}

export async function reverseKey(
  key: string,
  { wallet, assets, log, mayDeposit }: Calling,
): Promise<Said<ReversalView>> {
  const outcome = await wallet.reverse(key, mayDeposit ? undefined : 'settlement')
  if (outcome.outcome === 'refused' && outcome.code === 'FORBIDDEN') {
    return { problem: adminNeeded('the reversal of a DEPOSIT or WITHDRAWAL') }
  }
  if (outcome.outcome !== 'applied') return { problem: problemOfOutcome(outcome, assets, log) }
  const { replayed } = outcome
  return { body: { key, status: outcome.done.status, replayed }, isReplayed: replayed }
}

function adminNeeded(what: string): Problem {
  return problemOf('FORBIDDEN', `${what} needs the role admin; the key has operator`)
}

export async function showBalance(
  { user_id, currency }: Static<typeof BalanceParams>,
  { wallet, assets }: WalletServices,
): Promise<Said<BalanceView>> {
  const balance = await wallet.balance(user_id.toLowerCase(), currency)
  if (balance === null) return { problem: problemOf('UNKNOWN_CURRENCY', `no account can hold ${currency}`) }
  const text = (units: bigint): string => formatDecimal(units, scaleOf(assets, currency))
  const { userId, available, held, total } = balance
  const body = { user_id: userId, currency, available: text(available), held: text(held), total: text(total) }
  return { body, isReplayed: false }
}

/** One of a batch. Each stands alone: it is checked by itself, and refused by itself. */
export async function applyItem(item: unknown, calling: Calling, check: Check): Promise<BatchResult> {
  if (isReversal(item)) {
    const checked = check(ReversalItem, item)
    return resultOf(item, 'problem' in checked ? checked : await reverseKey(checked.value.key, calling))
  }
  const checked = check(OperationItem, item)
  if ('problem' in checked) return refusedItem(item, checked.problem)
  return resultOf(item, await applyOperation(checked.value, checked.value, calling))
}

function resultOf<Body extends BatchResult>(item: unknown, said: Said<Body>): BatchResult {
  return 'problem' in said ? refusedItem(item, said.problem) : said.body
}

/** One settlement of a call. */
export async function settleItem(
  item: unknown,
  { wallet, assets, log }: Calling,
  check: Check,
): Promise<SettlementResult> {
  const checked = check(SettlementItem, item)
  if ('problem' in checked) return refusedSettlement(item, checked.problem)
  const read = readSettlement(checked.value, assets)
  if ('problem' in read) return refusedSettlement(item, read.problem)
  const outcome = await wallet.settle(read.value)
  return outcome.outcome === 'applied'
    ? { key: read.value.key, status: 'settled', replayed: outcome.replayed }
    : refusedSettlement(item, problemOfOutcome(outcome, assets, log))
}

/** In the order in which the route's schema writes it: what is always there comes first. */
function refusedSettlement(item: unknown, refusal: Problem): SettlementResult {
  const { key, status, problem } = refusedItem(item, refusal)
  return { key, status, replayed: false, problem }
}

function isReversal(item: unknown): boolean {
  return typeof item === 'object' && item !== null && Reflect.get(item, 'type') === 'reversal'
}
