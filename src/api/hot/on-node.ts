/**
 * Hot calls on node:http, in front of the framework: it sees no request that is answered here. A request is looked at before its
 * body is read, so that whatever is not plainly a hot call gets to the framework untouched.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { App } from '../app.ts'
import type { Principal } from '../auth.ts'
import type { Answer } from '../lean/answer.ts'
import type { WireRequest } from '../lean/request-reader.ts'
import { type CallerOf, type HotRoute, type HotRoutes, mayCallHot } from './hot-routes.ts'

export interface OnNodeOptions {
  /** The most that a body here has; a larger one is the framework's. */
  readonly bodyBytes: number
  /** The most time a call gets; then it is answered that nothing is known. */
  readonly timeoutMs: number
  /** Answers are the last of their connections; what begins now is the framework's to refuse. */
  readonly isStopping: () => boolean
}

/** Puts the hot routes in front of a server that is ready. */
export function putInFront(app: App, hot: HotRoutes, options: OnNodeOptions): void {
  const { bodyBytes, timeoutMs, isStopping } = options
  const callers = new WeakMap<Socket, CallerOf>()

  function callerOn(socket: Socket): CallerOf {
    const known = callers.get(socket)
    if (known !== undefined) return known
    const made = hot.connect()
    callers.set(socket, made)
    return made
  }

  function take(message: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers, socket } = message
    const route = hot.routeOf(method, url)
    const length = Number(headers['content-length'] ?? Number.NaN)
    if (route === undefined || !(length > 0 && length <= bodyBytes) || isStopping()) {
      app.routing(message, response)
      return
    }
    const go = (caller: Principal | null): void => {
      if (mayCallHot(app, caller, route)) read(message, response, route, caller)
      else app.routing(message, response)
    }
    const caller = callerOn(socket)(headers.authorization)
    if (caller instanceof Promise) caller.then(go, () => go(null))
    else go(caller)
  }

  function read(message: IncomingMessage, response: ServerResponse, route: HotRoute, caller: Principal): void {
    const parts: Buffer[] = []
    message.on('data', part => parts.push(part))
    // One that breaks before it is whole has no end, and was no call.
    message.on('end', () => {
      const body = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
      const { method = '', url: target = '' } = message
      const headers = message.headers as WireRequest['headers']
      void answer({ method, target, headers, body, staysOpen: true }, response, route, caller)
    })
  }

  async function answer(
    request: WireRequest,
    response: ServerResponse,
    route: HotRoute,
    caller: Principal,
  ): Promise<void> {
    const giveUp = setTimeout(() => {
      const late = Object.assign(new Error(`not answered in ${timeoutMs} ms`), { statusCode: 503 })
      void hot.failed(late, request).then(said => write(response, said))
    }, timeoutMs)
    write(response, await hot.answer(route, request, caller))
    clearTimeout(giveUp)
  }

  /** Once: whoever was told that nothing is known hears no more. */
  function write(response: ServerResponse, { status, headers, body, isLast }: Answer): void {
    if (response.headersSent) return
    if (isLast === true || isStopping()) response.shouldKeepAlive = false
    response.writeHead(status, linesOf(headers, Buffer.byteLength(body)))
    response.end(body)
  }

  app.server.removeAllListeners('request')
  app.server.on('request', take)
}

/** Names and values in turn. */
function linesOf(headers: string, length: number): string[] {
  const lines = ['content-length', String(length)]
  for (const line of headers.split('\r\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) lines.push(line.slice(0, colon), line.slice(colon + 2))
  }
  return lines
}
