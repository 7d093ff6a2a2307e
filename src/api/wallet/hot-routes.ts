/**
 * The wallet's calls that come by the ten thousands, answered without the framework. Only what is plainly in order is: a
 * good key, a plain JSON body, a form that the routes' own validators accept. Anything else goes to the routes, whose
 * words for it are the only ones. What the call then comes to is decided for both ways in calls.ts.
 */
import type { Static, TSchema } from 'typebox'
import type { App } from '../app.ts'
import { type Authenticate, type Found, isAtLeast, keyOf, type Principal } from '../auth.ts'
import type { Problem } from '../contract.ts'
import { failureOf } from '../error-handler.ts'
import { type Answer, JSON_TYPE, PROBLEM_TYPE } from '../lean/answer.ts'
import type { Handle } from '../lean/connection.ts'
import type { WireRequest } from '../lean/request-reader.ts'
import type { NotReady } from '../routes/health-show.ts'
import {
  applyItem,
  applyOperation,
  type Calling,
  placeHold,
  releaseHold,
  reverseKey,
  type Said,
  settleItem,
  showBalance,
} from './calls.ts'
import {
  BalanceParams,
  BatchBody,
  HoldBody,
  KeyHeader,
  OperationBody,
  ReleaseBody,
  ReversalBody,
  SettlementsBody,
} from './contract.ts'
import { checkWith } from './items.ts'

export interface HotOptions {
  /** Answers whatever is not hot. */
  readonly app: App
  readonly authenticate: Authenticate
  readonly notReady: NotReady
  readonly calling: Omit<Calling, 'mayDeposit'>
}

/** Null: not for here after all; nothing was done. */
type Hot = (request: WireRequest) => Promise<Answer> | null

/** Makes the handler of each connection. */
export async function hotHandler(options: HotOptions): Promise<() => Handle> {
  const { app, calling, notReady } = options
  await app.ready()
  const [ofAdmins, ofOperators] = await Promise.all([
    hotRoutes(app, { ...calling, mayDeposit: true }),
    hotRoutes(app, { ...calling, mayDeposit: false }),
  ])
  const callerOf = callerBy(options.authenticate)
  const failed = async (error: unknown, { method, target }: WireRequest): Promise<Answer> =>
    refused(await failureOf(error, { method, route: target }, { log: calling.log, notReady }))
  const answer = (routes: HotRoutes, request: WireRequest): Promise<Answer> =>
    routeOf(routes, request)?.(request)?.catch((error: unknown) => failed(error, request)) ??
    answerByRoutes(app, request)

  return () => {
    // What a connection's client has shown to be good for ever; it is compared with nobody else's.
    let accepted: string | undefined
    let routes = ofOperators
    const answerTo = (caller: Principal | null, request: WireRequest): Promise<Answer> => {
      if (caller === null) return answerByRoutes(app, request)
      const own = isAtLeast(caller, 'admin') ? ofAdmins : ofOperators
      if (caller.keyId === undefined) {
        accepted = request.headers['authorization']
        routes = own
      }
      return answer(own, request)
    }
    return request => {
      if (accepted !== undefined && request.headers['authorization'] === accepted) return answer(routes, request)
      const caller = callerOf(request)
      if (!(caller instanceof Promise)) return answerTo(caller, request)
      return caller.then(
        found => answerTo(found, request),
        () => answerByRoutes(app, request),
      )
    }
  }
}

/** Whether a request brings the key of somebody who may call the wallet. */
export function callerCheck(authenticate: Authenticate): (request: WireRequest) => Promise<boolean> {
  const callerOf = callerBy(authenticate)
  return async request => (await callerOf(request)) !== null
}

/** Who calls, if it is somebody whose calls may be hot; at once where that can be said at once. */
function callerBy(authenticate: Authenticate): (request: WireRequest) => Principal | null | Promise<Principal | null> {
  const mayBeHot = (found: Found): Principal | null =>
    found !== null && found !== 'busy' && isAtLeast(found, 'operator') ? found : null
  return ({ headers }) => {
    const key = keyOf(headers['authorization'])
    const found = key === undefined ? null : authenticate(key)
    return found instanceof Promise ? found.then(mayBeHot) : mayBeHot(found)
  }
}

type HotRoutes = ReadonlyMap<string, Hot>

async function hotRoutes(app: App, calling: Calling): Promise<HotRoutes> {
  const { batchMax, settlementsMax } = await calling.wallet.capabilities()
  const check = checkWith(app.compileSchema)
  const validates = <Schema extends TSchema>(schema: Schema) => {
    const validate = app.compileSchema(schema)
    return (value: unknown): value is Static<Schema> => validate(value) === true
  }
  const isKeyed = validates(KeyHeader)
  const isOperation = validates(OperationBody)
  const isHold = validates(HoldBody)
  const isRelease = validates(ReleaseBody)
  const isReversal = validates(ReversalBody)
  const isBatch = validates(BatchBody)
  const isSettlements = validates(SettlementsBody)
  const isBalance = validates(BalanceParams)

  const operation =
    (type: 'debit' | 'credit'): Hot =>
    ({ headers, body }) => {
      const parsed = jsonOf(headers, body)
      if (!isKeyed(headers) || !isOperation(parsed)) return null
      const key = copied(headers['idempotency-key'])
      return applyOperation(parsed, { key, type }, calling).then(created)
    }
  const hold: Hot = ({ headers, body }) => {
    const parsed = jsonOf(headers, body)
    if (!isKeyed(headers) || !isHold(parsed)) return null
    return placeHold(parsed, copied(headers['idempotency-key']), calling).then(created)
  }
  const release: Hot = ({ headers, body }) => {
    const parsed = jsonOf(headers, body)
    if (!isKeyed(headers) || !isRelease(parsed)) return null
    return releaseHold(parsed, copied(headers['idempotency-key']), calling).then(answered)
  }
  const reversal: Hot = ({ headers, body }) => {
    const parsed = jsonOf(headers, body)
    return isReversal(parsed) ? reverseKey(parsed.key, calling).then(answered) : null
  }
  const batch: Hot = ({ headers, body }) => {
    const parsed = jsonOf(headers, body)
    if (!isBatch(parsed) || parsed.operations.length > batchMax) return null
    return Promise.all(parsed.operations.map(item => applyItem(item, calling, check))).then(listed)
  }
  const settlements: Hot = ({ headers, body }) => {
    const parsed = jsonOf(headers, body)
    if (!isSettlements(parsed) || parsed.settlements.length > settlementsMax) return null
    return Promise.all(parsed.settlements.map(item => settleItem(item, calling, check))).then(listed)
  }
  const balance: Hot = ({ target }) => {
    const [user_id, currency, ...more] = target.slice(BALANCES.length).split('/')
    const params = { user_id, currency }
    return more.length === 0 && isBalance(params) ? showBalance(params, calling).then(answered) : null
  }
  const all: readonly (readonly [string, 'POST' | 'GET', string, Hot])[] = [
    ['POST /v1/debits', 'POST', '/v1/debits', operation('debit')],
    ['POST /v1/credits', 'POST', '/v1/credits', operation('credit')],
    ['POST /v1/holds', 'POST', '/v1/holds', hold],
    ['POST /v1/holds/release', 'POST', '/v1/holds/release', release],
    ['POST /v1/reversals', 'POST', '/v1/reversals', reversal],
    ['POST /v1/batch', 'POST', '/v1/batch', batch],
    ['POST /v1/settlements', 'POST', '/v1/settlements', settlements],
    [`GET ${BALANCES}`, 'GET', '/v1/balances/:user_id/:currency', balance],
  ]
  // What a wallet's level does not have is not hot either.
  return new Map(all.filter(([, method, url]) => app.hasRoute({ method, url })).map(([name, , , hot]) => [name, hot]))
}

const BALANCES = '/v1/balances/'

function routeOf(routes: HotRoutes, { method, target }: WireRequest): Hot | undefined {
  if (method === 'POST') return routes.get(`POST ${target}`)
  return method === 'GET' && target.startsWith(BALANCES) ? routes.get(`GET ${BALANCES}`) : undefined
}

/** The same text with none of the request's head behind it: a part of a text keeps the whole of it in memory. */
function copied(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}

/** Undefined: a body that the routes had better look at themselves, such as one that is no JSON. */
function jsonOf(headers: WireRequest['headers'], body: Buffer): unknown {
  const type = headers['content-type']
  if (type !== 'application/json' && type !== 'application/json; charset=utf-8') return undefined
  const text = body.toString('utf8')
  // The framework's parser refuses these names, however they are written, and bytes that are no UTF-8 stand as \ufffd.
  if (text.includes('\\') || text.includes('\ufffd')) return undefined
  if (text.includes('"__proto__"') || text.includes('"constructor"')) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function created<Body extends object>(said: Said<Body>): Answer {
  return answered(said, 201)
}

function answered<Body extends object>(said: Said<Body>, status: 200 | 201 = 200): Answer {
  if ('problem' in said) return refused(said.problem)
  if (!said.isReplayed) return { status, headers: JSON_TYPE, body: JSON.stringify(said.body) }
  return { status: 200, headers: `idempotent-replayed: true\r\n${JSON_TYPE}`, body: JSON.stringify(said.body) }
}

function listed(results: readonly object[]): Answer {
  return { status: 200, headers: JSON_TYPE, body: JSON.stringify({ results }) }
}

function refused(problem: Problem): Answer {
  const later = problem.status === 429 || problem.status === 503 ? 'retry-after: 1\r\n' : ''
  return { status: problem.status, headers: `${later}${PROBLEM_TYPE}`, body: JSON.stringify(problem) }
}

/** Said anew for each connection and answer. */
const OF_CONNECTION = /^(?:connection|content-length|date|keep-alive|transfer-encoding)$/

async function answerByRoutes(app: App, request: WireRequest): Promise<Answer> {
  const { method, target, headers, body } = request
  const answer = await app.inject({
    method: method as 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    url: target,
    headers,
    ...(body.length === 0 ? {} : { payload: body }),
  })
  const lines = Object.entries(answer.headers)
    .filter(([name]) => !OF_CONNECTION.test(name))
    .map(([name, value]) => `${name}: ${String(value)}\r\n`)
  // A body that could not be read leaves it open where the next request begins.
  const isLast = answer.headers['connection'] === 'close'
  return { status: answer.statusCode, headers: lines.join(''), body: answer.rawPayload, isLast }
}
