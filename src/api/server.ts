/**
 * The HTTP server: what every request meets (keys, limits, problems, the end), and the routes that are wanted. It is
 * made, not started; all that it needs is passed in.
 */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import type { TSchema } from 'typebox'
import type { Logger } from '../log.ts'
import { type AdminServices, adminRoutes } from './admin/plugin.ts'
import { auditListRoute } from './admin/routes/audit-list.ts'
import type { App, CompileSchema } from './app.ts'
import type { Authenticate, Principal } from './auth.ts'
import { errorHandler } from './error-handler.ts'
import { allKeysOf, guardRoutes } from './guard.ts'
import { createHotRoutes } from './hot/hot-routes.ts'
import { putInFront } from './hot/on-node.ts'
import { parseInstant } from './instant.ts'
import { type KeyServices, keyRoutes, noKeyRoutes } from './keys/plugin.ts'
import { describeApi } from './openapi.ts'
import { orderHotRoutes } from './orders/hot-routes.ts'
import { type OrderServices, orderRoutes } from './orders/plugin.ts'
import { problemOf, refuse } from './problem.ts'
import { healthRoutes, type NotReady } from './routes/health-show.ts'
import type { TradeServices } from './routes/trade-services.ts'
import { tradeShowRoute } from './routes/trade-show.ts'
import { tradesListRoute } from './routes/trades-list.ts'
import { tradesTakeRoute } from './routes/trades-take.ts'
import { type FaultControl, faultRoutes } from './wallet/faults/routes.ts'
import { type WalletServices, walletRoutes } from './wallet/plugin.ts'

export interface ServerOptions {
  /** Asked first for every key. */
  readonly authenticate: Authenticate
  /** Further keys, and their making; a text says why there can be none. */
  readonly keys?: KeyServices | string
  readonly notReady: NotReady
  readonly log: Logger
  readonly version: string
  /** The most time a call gets; then it is answered that nothing is known. */
  readonly timeoutMs?: number
  /** Null: this server takes no trades (a wallet alone). */
  readonly trades: TradeServices | null
  /** Not given: this server takes no orders. */
  readonly orders?: OrderServices
  /** Not given: this server has nothing for operators (a wallet alone). */
  readonly admin?: AdminServices
  /** Null: this server offers no wallet (it uses one elsewhere). */
  readonly wallet: WalletServices | null
  /** Of a wallet that goes wrong by a script. */
  readonly faults?: FaultControl
}

/** Room for 1000 trades or settlements, written generously. */
export const BODY_LIMIT = 4 * 1024 * 1024
/** Wallet keys have up to 128 characters, each perhaps percent-encoded. */
const MAX_PARAM_LENGTH = 400
export const REQUEST_TIMEOUT_MS = 30_000
/** Longer than the proxies in front usually keep theirs, so that it is they who end an idle connection. */
const KEEP_ALIVE_MS = 72_000

export function createServer(options: ServerOptions): App {
  const answerError = errorHandler(options.notReady)
  const app: App = Fastify({
    loggerInstance: options.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    handlerTimeout: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // The hooks below answer instead, with a problem.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply),
    clientErrorHandler: answerClientError,
    ajv: {
      customOptions: {
        allErrors: true,
        verbose: true,
        coerceTypes: false,
        removeAdditional: false,
        keywords: ['x-code', 'x-missing-code'],
      },
      onCreate: ajv => ajv.addFormat('date-time', text => parseInstant(text) !== null),
    },
  })
  app.setErrorHandler(answerError)
  app.setNotFoundHandler((_request, reply) => refuse(reply, problemOf('NOT_FOUND', 'there is no such route')))
  // A text is not JSON, whatever it holds.
  app.removeContentTypeParser('text/plain')
  takeEmptyBodies(app)
  const stopping = stopInOrder(app)
  app.decorateRequest('principal', null as unknown as Principal)
  app.decorate('accessOf', new Map())
  app.decorate('compileSchema', null as unknown as CompileSchema)
  void app.register(async scope => {
    await describeApi(scope, options.version)
    healthRoutes(scope, options.notReady)
    await scope.register(async guarded => {
      app.compileSchema = validatorsOf(guarded)
      guardRoutes(guarded, options)
      if (options.trades !== null) {
        tradesTakeRoute(guarded, options.trades)
        tradesListRoute(guarded, options.trades)
        tradeShowRoute(guarded, options.trades)
      }
      if (options.orders !== undefined) orderRoutes(guarded, options.orders)
      if (options.admin !== undefined) adminRoutes(guarded, options.admin)
      keyAndAuditRoutes(guarded, options)
      if (options.wallet !== null) await walletRoutes(guarded, options.wallet, options.notReady)
      if (options.faults !== undefined) faultRoutes(guarded, options.faults)
    })
  })
  if (options.orders !== undefined) putOrdersInFront(app, options, options.orders, () => stopping.isStopping)
  return app
}

/** A single order is a few lines. */
const HOT_BODY_BYTES = 16 * 1024

function putOrdersInFront(app: App, options: ServerOptions, orders: OrderServices, isStopping: () => boolean): void {
  const { notReady, timeoutMs = REQUEST_TIMEOUT_MS } = options
  app.addHook('onReady', async () => {
    const routes = orderHotRoutes(app, orders)
    const hot = createHotRoutes({ app, authenticate: allKeysOf(options), notReady, log: app.log, routes })
    putInFront(app, hot, { bodyBytes: HOT_BODY_BYTES, timeoutMs, isStopping })
  })
}

function keyAndAuditRoutes(scope: App, { keys, admin }: ServerOptions): void {
  if (typeof keys === 'object') keyRoutes(scope, keys)
  else if (keys !== undefined) noKeyRoutes(scope, keys)
  const logs = [...(admin === undefined ? [] : [admin.operators]), ...(typeof keys === 'object' ? [keys.store] : [])]
  if (logs.length > 0) auditListRoute(scope, logs)
}

/** The validators of the routes in a scope; they are there once its first route is. */
function validatorsOf(scope: App): CompileSchema {
  const made = new Map<TSchema, ReturnType<CompileSchema>>()
  return schema => {
    const known = made.get(schema) ?? scope.validatorCompiler?.({ schema, method: 'POST', url: '', httpPart: 'body' })
    if (known === undefined) throw new Error('the server is not ready')
    made.set(schema, known as ReturnType<CompileSchema>)
    return known as ReturnType<CompileSchema>
  }
}

/** Clients that say of every call that it is JSON say it of one without a body, too. */
function takeEmptyBodies(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, request.method === 'DELETE' ? undefined : null)
    else void parse(request, body as string, done)
  })
}

/** From the moment it is told to close: nothing new is taken, what is under way is answered, connections end. */
function stopInOrder(app: App): { readonly isStopping: boolean } {
  const state = { isStopping: false }
  app.addHook('preClose', async () => {
    state.isStopping = true
  })
  app.addHook('onRequest', (_request, reply, done) => {
    if (state.isStopping) refuse(reply, problemOf('UNAVAILABLE', 'the server is stopping'))
    else done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (state.isStopping) void reply.header('connection', 'close')
    done(null, payload)
  })
  return state
}

/** What arrived was no HTTP request: there is nothing of the server's to answer it with but the socket. */
function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
  const body = JSON.stringify(problemOf('INVALID_REQUEST', 'this is not a proper HTTP request', { status }))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
