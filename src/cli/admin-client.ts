import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Problem } from '../api/contract.ts'
import type { Config } from '../config.ts'
import { configOf } from './config.ts'
import { CommandError, EXIT, type ExitStatus } from './exit-status.ts'
import type { CommonOptions } from './main.ts'

export interface ServerOptions extends CommonOptions {
  readonly url?: string
}

/** The admin API of a running server. A call that is not answered as it should be ends the command, in words. */
export interface AdminClient {
  /** `hint`: the command to go on with, where the call finds nothing or nothing to do. */
  get<Answer>(path: string, hint: string): Promise<Answer>
  post<Answer>(path: string, body: object, hint: string): Promise<Answer>
  /** The body of an answer that may take any time; it throws where the body is cut. */
  stream(path: string, hint: string): Promise<AsyncIterable<Uint8Array>>
}

const CALL_MS = 30_000

/** The server and the key that the options, the environment and the data folder name. */
export async function openAdminClient(options: ServerOptions, signal: AbortSignal): Promise<AdminClient> {
  const config = configOf(options)
  const url = urlOf(options, config)
  const key = await keyOf(config)
  const within = (limit: AbortSignal): AbortSignal => AbortSignal.any([signal, limit])
  const call = async <Answer>(path: string, body: object | null, hint: string): Promise<Answer> => {
    const authorization = `Bearer ${key}`
    const request: RequestInit =
      body === null
        ? { headers: { authorization } }
        : {
            method: 'POST',
            headers: { authorization, 'content-type': 'application/json' },
            body: JSON.stringify(body),
          }
    const answer = await answered(url, path, signal, { ...request, signal: within(AbortSignal.timeout(CALL_MS)) })
    if (!answer.ok) throw failure(answer.status, await problemOf(answer), hint)
    return (await answer.json()) as Answer
  }
  const stream: AdminClient['stream'] = async (path, hint) => {
    const begin = new AbortController()
    const late = setTimeout(() => begin.abort(new Error(`no answer within ${CALL_MS / 1000} s`)), CALL_MS)
    try {
      const request = { headers: { authorization: `Bearer ${key}` }, signal: within(begin.signal) }
      const answer = await answered(url, path, signal, request)
      if (!answer.ok || answer.body === null) throw failure(answer.status, await problemOf(answer), hint)
      return answer.body
    } finally {
      clearTimeout(late)
    }
  }
  return { get: (path, hint) => call(path, null, hint), post: call, stream }
}

function urlOf({ url }: ServerOptions, { server }: Config): string {
  if (url === undefined) {
    if (server.port === 0) throw new CommandError(EXIT.usage, 'server.port is 0: say where the server is with --url')
    const host = server.host === '0.0.0.0' || server.host === '::' ? '127.0.0.1' : server.host
    return `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`
  }
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new CommandError(EXIT.usage, `--url ${url}: must be http://… or https://…`)
  }
  return url.replace(/\/+$/, '')
}

async function keyOf({ adminToken, dataDir }: Config): Promise<string> {
  if (adminToken !== null) return adminToken
  const path = join(dataDir, 'admin.key')
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    const why = error instanceof Error && 'code' in error && error.code === 'ENOENT' ? 'is not there' : String(error)
    const what = `no key: LEGWORK_ADMIN_TOKEN is not set, and ${path} ${why}`
    throw new CommandError(EXIT.configuration, `${what}; name the server's data folder with --data-dir`)
  }
}

/** @param request its signal includes `signal`, by which the command itself is ended. */
async function answered(url: string, path: string, signal: AbortSignal, request: RequestInit): Promise<Response> {
  try {
    return await fetch(`${url}${path}`, { ...request, redirect: 'error' })
  } catch (error) {
    signal.throwIfAborted()
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const why = cause instanceof Error ? cause.message || cause.name : String(cause)
    throw new CommandError(
      EXIT.unreachable,
      `${url} can't be reached: ${why}\nIs the server at work? legwork up starts it`,
    )
  }
}

async function problemOf(answer: Response): Promise<Partial<Problem>> {
  try {
    return (await answer.json()) as Problem
  } catch {
    return {}
  }
}

function failure(status: number, { code, detail }: Partial<Problem>, hint: string): CommandError {
  const said = `${detail ?? `the server answered with status ${status}`}${code === undefined ? '' : ` (${code})`}`
  const exit = exitOf(status)
  if (exit === EXIT.configuration) {
    return new CommandError(exit, `${said}\nThe key is that of LEGWORK_ADMIN_TOKEN, or admin.key in --data-dir`)
  }
  return new CommandError(exit, exit === EXIT.notFound || exit === EXIT.conflict ? `${said}\n${hint}` : said)
}

function exitOf(status: number): ExitStatus {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return EXIT.usage
    case 401:
    case 403:
      return EXIT.configuration
    case 404:
      return EXIT.notFound
    case 409:
      return EXIT.conflict
    case 429:
    case 503:
      return EXIT.unreachable
    default:
      return EXIT.failed
  }
}
