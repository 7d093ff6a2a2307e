/**
 * Calls that come by the ten thousands, answered without the framework. Only what is plainly in order is: a good key that may
 * make the call, a plain JSON body, a form that the route's own validators accept. Anything else goes to the routes, whose
 * words for it are the only ones. What the call then comes to is decided for both ways in one place (`calls.ts` of each).
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Static, TSchema } from 'typebox'
import type { App } from '../app.ts'
import { type Authenticate, keyOf, mayCall, type Principal } from '../auth.ts'
import { failureOf } from '../error-handler.ts'
import type { Answer } from '../lean/answer.ts'
import type { WireRequest } from '../lean/request-reader.ts'
import type { NotReady } from '../routes/health-show.ts'
import { refused } from './answers.ts'

export interface HotRoute {
  readonly method: 'GET' | 'POST'
  /** As the framework has it, which says who may call it; a route that it does not have is not hot either. */
  readonly url: string
  /** What the target is, or begins with where it ends in a slash. */
  readonly target: string
  /** Null: not for here after all; nothing was done. */
  answer(request: WireRequest, caller: Principal): Promise<Answer> | null
}

/** Who may make a hot call is what its route says. */
export function mayCallHot(app: App, caller: Principal | null, { method, url }: HotRoute): caller is Principal {
  const access = app.accessOf.get(`${method} ${url}`)
  return caller !== null && access !== undefined && mayCall(caller, access)
}

/** Who calls, by an Authorization header; at once where that can be said at once. */
export type CallerOf = (authorization: string | undefined) => Principal | null | Promise<Principal | null>

export interface HotRoutes {
  routeOf(method: string, target: string): HotRoute | undefined
  /** For one connection: what its client has shown to be good for ever is compared with nobody else's, once. */
  connect(): CallerOf
  /** By the route where it can be, else by the framework; whatever fails is answered. */
  answer(route: HotRoute | undefined, request: WireRequest, caller: Principal | null): Promise<Answer>
  /** What a call is told that failed, or that is given up. */
  failed(error: unknown, request: Pick<WireRequest, 'method' | 'target'>): Promise<Answer>
}

export interface HotOptions {
  /** Answers whatever is not hot; it is ready. */
  readonly app: App
  readonly authenticate: Authenticate
  readonly notReady: NotReady
  readonly log: FastifyBaseLogger
  readonly routes: readonly HotRoute[]
}

export function createHotRoutes({ app, authenticate, notReady, log, routes }: HotOptions): HotRoutes {
  const exact = new Map<string, HotRoute>()
  const beginning: HotRoute[] = []
  for (const route of routes) {
    if (!app.hasRoute({ method: route.method, url: route.url })) continue
    if (route.target.endsWith('/')) beginning.push(route)
    else exact.set(`${route.method} ${route.target}`, route)
  }

  function connect(): CallerOf {
    let accepted: string | undefined
    let known: Principal | null = null
    const remember = (authorization: string | undefined, caller: Principal | null): Principal | null => {
      if (caller !== null && caller.keyId === undefined) {
        accepted = authorization
        known = caller
      }
      return caller
    }
    return authorization => {
      if (accepted !== undefined && authorization === accepted) return known
      const caller = callerBy(authenticate, authorization)
      return caller instanceof Promise
        ? caller.then(found => remember(authorization, found))
        : remember(authorization, caller)
    }
  }

  async function failed(error: unknown, { method, target }: Pick<WireRequest, 'method' | 'target'>): Promise<Answer> {
    return refused(await failureOf(error, { method, route: target }, { log, notReady }))
  }

  return {
    routeOf: (method, target) =>
      exact.get(`${method} ${target}`) ??
      beginning.find(route => route.method === method && target.startsWith(route.target)),
    connect,
    async answer(route, request, caller) {
      const isHot = route !== undefined && mayCallHot(app, caller, route)
      try {
        return (await (isHot ? route.answer(request, caller) : null)) ?? (await answerByRoutes(app, request))
      } catch (error) {
        return await failed(error, request)
      }
    },
    failed,
  }
}

/** Whether a value has the form of a schema, as the routes judge it. */
export function validatorsIn(app: App) {
  return <Schema extends TSchema>(schema: Schema) => {
    const validate = app.compileSchema(schema)
    return (value: unknown): value is Static<Schema> => validate(value) === true
  }
}

function callerBy(
  authenticate: Authenticate,
  authorization: string | undefined,
): Principal | null | Promise<Principal | null> {
  const key = keyOf(authorization)
  const found = key === undefined ? null : authenticate(key)
  if (found instanceof Promise) return found.then(principal => (principal === 'busy' ? null : principal))
  return found === 'busy' ? null : found
}

/** Whether a request brings the key of somebody who may make the calls of an operator. */
export function callerCheck(authenticate: Authenticate): (request: WireRequest) => Promise<boolean> {
  return async ({ headers }) => {
    const caller = await callerBy(authenticate, headers['authorization'])
    return caller !== null && mayCall(caller, { role: 'operator' })
  }
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
