/** The conformance kit: tries the promises of the wallet protocol on a wallet over HTTP, and says which it keeps. */
import type { Asset } from '../core/market.ts'
import { BASIC } from './basic.ts'
import { BATCH } from './batch.ts'
import { type Answer, type Caller, createCaller, NoAnswerError } from './caller.ts'
import { type Claims, readClaims } from './claims.ts'
import { BrokenPromiseError } from './expect.ts'
import { HOLD_PROMISES } from './holds.ts'
import { createHousekeeping, type Left } from './housekeeping.ts'
import { LEVELS, type Part, type WalletPromise } from './promise.ts'
import { READING_BACK } from './reading.ts'
import { REQUESTS } from './requests.ts'
import { REVERSALS } from './reversals.ts'
import { SETTLEMENTS } from './settlements.ts'
import { createTrial, type Trial } from './trial.ts'

export interface KitOptions {
  readonly url: string
  readonly token: string
  /** Names the run; users and keys follow from it, so it is used once. */
  readonly run: string
  /** The currencies to try on a wallet that does not name its own. */
  readonly assumed: readonly Asset[]
  readonly signal: AbortSignal
  /** Of one call. */
  readonly callMs?: number
  /** Of all promises; those that are not reached by then are told so. */
  readonly runMs?: number
  /** Told before the first promise is tried. */
  readonly onClaims?: (claims: Claims) => void
  /** Told of each promise as it is tried, in order. */
  readonly onFinding?: (finding: Finding) => void
}

export type Finding =
  | { readonly promise: WalletPromise; readonly result: 'kept' }
  | {
      readonly promise: WalletPromise
      readonly result: 'broken'
      readonly expected: string
      readonly sent: string
      /** Where that was only a look: the last call of the promise before it that was to change something. */
      readonly after: string | null
      /** Null: no answer came, and `why` says why. */
      readonly came: Answer | null
      readonly why: string | null
    }
  | { readonly promise: WalletPromise; readonly result: 'untried'; readonly why: string }

export interface Report {
  readonly claims: Claims
  /** The highest level of which, and of all below, every promise is kept: an index of `LEVELS`; null: not even the lowest. */
  readonly keeps: number | null
  readonly findings: readonly Finding[]
  readonly left: Left
}

/** The wallet can not be looked at. */
export class KitError extends Error {
  readonly kind: 'unreachable' | 'locked_out' | 'unusable'
  constructor(kind: KitError['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

const CALL_MS = 10_000
const RUN_MS = 300_000
const CLEAN_MS = 60_000
/** So many promises in a row without an answer, and the wallet is taken to be away. */
const MOST_UNANSWERED = 3

const PROMISES: readonly WalletPromise[] = [
  ...[REQUESTS, BASIC, REVERSALS, READING_BACK, BATCH, SETTLEMENTS, HOLD_PROMISES].flat(),
]

/** Throws `KitError` where there is nothing to try, and the signal's reason where it is interrupted. */
export async function runConformance(options: KitOptions): Promise<Report> {
  const { url, token, signal, callMs = CALL_MS, runMs = RUN_MS } = options
  const deadline = AbortSignal.timeout(runMs)
  const open = (ends: AbortSignal): Caller => createCaller({ url, token, callMs, signal: ends })
  // What is noted is of one run, but cleaning up has a time of its own.
  let caller = open(AbortSignal.any([signal, deadline]))
  const house = createHousekeeping(call => caller(call))
  const last: LastChange = { sent: null }
  const noted: Caller = async call => {
    const answer = await house.caller(call)
    if (call.method === 'POST') last.sent = answer.sent
    return answer
  }
  const { claims, trial } = await begin(options, noted).catch(error => {
    throw error instanceof NoAnswerError
      ? new KitError('unreachable', `${url} can't be reached: ${error.message}`)
      : error
  })
  options.onClaims?.(claims)
  try {
    const findings = await tryAll(trial, last, options, deadline)
    return { claims, keeps: kept(claims, findings), findings, left: await clean() }
  } catch (error) {
    await clean()
    throw error
  }

  async function clean(): Promise<Left> {
    caller = open(AbortSignal.timeout(CLEAN_MS))
    return await house.clean(trial)
  }
}

/** The last call that was to change something. */
interface LastChange {
  sent: string | null
}

async function tryAll(
  trial: Trial,
  last: LastChange,
  { signal, onFinding }: KitOptions,
  deadline: AbortSignal,
): Promise<Finding[]> {
  const findings: Finding[] = []
  let unanswered = 0
  for (const promise of PROMISES.filter(each => isClaimed(each, trial.claims))) {
    const why = deadline.aborted
      ? 'the time for the whole run was up'
      : unanswered >= MOST_UNANSWERED
        ? 'the wallet no longer answers'
        : null
    const finding = why === null ? await tryOne(promise, trial, last) : ({ promise, result: 'untried', why } as const)
    signal.throwIfAborted()
    const isUnanswered = finding.result === 'broken' && finding.came === null
    if (why === null) unanswered = isUnanswered ? unanswered + 1 : 0
    findings.push(finding)
    onFinding?.(finding)
  }
  return findings
}

async function tryOne(promise: WalletPromise, trial: Trial, last: LastChange): Promise<Finding> {
  last.sent = null
  const afterOf = (sent: string): string | null => (sent.startsWith('GET ') ? last.sent : null)
  try {
    await promise.run(trial)
    return { promise, result: 'kept' }
  } catch (error) {
    if (error instanceof BrokenPromiseError) {
      const { message: expected, answer } = error
      return {
        promise,
        result: 'broken',
        expected,
        sent: answer.sent,
        after: afterOf(answer.sent),
        came: answer,
        why: null,
      }
    }
    if (error instanceof NoAnswerError) {
      const { message: why, sent } = error
      return { promise, result: 'broken', expected: 'an answer', sent, after: afterOf(sent), came: null, why }
    }
    // Ended from outside in the midst of it.
    if (error instanceof DOMException) return { promise, result: 'untried', why: 'the time for the whole run was up' }
    throw error
  }
}

function isClaimed({ part, needs = 'basic' }: WalletPromise, claims: Claims): boolean {
  return claims.level >= LEVELS.indexOf(needs) && (part === 'holds' ? claims.holds : claims.level >= levelOf(part))
}

function levelOf(part: Part): number {
  return part === 'holds' ? -1 : LEVELS.indexOf(part)
}

function kept({ level }: Claims, findings: readonly Finding[]): number | null {
  const broken = findings
    .filter(({ promise, result }) => promise.part !== 'holds' && result !== 'kept')
    .map(({ promise }) => levelOf(promise.part))
  const keeps = Math.min(level + 1, ...broken) - 1
  return keeps < 0 ? null : keeps
}

/** Finds out what there is to try, and that there is something to try it on. */
async function begin(options: KitOptions, caller: Caller): Promise<{ readonly claims: Claims; readonly trial: Trial }> {
  const { url, run, assumed } = options
  const answer = await caller({ method: 'GET', path: '/v1/capabilities' })
  if (answer.status === 401 || answer.status === 403) {
    throw new KitError('locked_out', `${url} does not take the token (${answer.status})`)
  }
  if (answer.status !== 200 && answer.status !== 404) {
    throw new KitError('unreachable', `${url} answers GET /v1/capabilities with ${answer.status}: is that the wallet?`)
  }
  const claims = readClaims(answer, []) ?? readClaims(answer, await knownOf(assumed, caller))
  if (claims === null) {
    const codes = assumed.map(({ code }) => code).join(', ')
    const why = `${url} names no currencies, and has no accounts in those configured (${codes})`
    throw new KitError('unusable', `${why}: is that the wallet? If it is, name some of its currencies under assets`)
  }
  const trial = createTrial({ run, caller, claims })
  await expectDeposit(url, trial)
  return { claims, trial }
}

const NOBODY = '00000000-0000-4000-8000-000000000000'

/** Of the currencies those that the wallet has accounts for. */
async function knownOf(assets: readonly Asset[], caller: Caller): Promise<readonly Asset[]> {
  const known: Asset[] = []
  for (const asset of assets) {
    const { status } = await caller({ method: 'GET', path: `/v1/balances/${NOBODY}/${asset.code}` })
    if (status === 200) known.push(asset)
    if (known.length === 2) break
  }
  return known
}

/** A token that may not make deposits would break every promise, and say little about the wallet. */
async function expectDeposit(url: string, trial: Trial): Promise<void> {
  const { status } = await trial.send(trial.credit(trial.user(), 1, { reason: 'DEPOSIT' }))
  if (status === 401 || status === 403) {
    throw new KitError('locked_out', `${url} does not let the token make deposits (${status}); the kit needs some`)
  }
}
