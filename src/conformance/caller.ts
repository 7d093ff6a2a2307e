/**
 * Calls to a wallet as the kit makes them, also such as no proper client would send. Nothing here knows what an answer
 * should be. It shares nothing with the client that settlement uses, so that an error of one can't hide in the other.
 */
import { setTimeout as delay } from 'node:timers/promises'

export interface Call {
  readonly method: 'GET' | 'POST'
  /** With the query; the wallet's URL goes in front. */
  readonly path: string
  /** Sent as JSON; a text is sent as it is. */
  readonly body?: unknown
  /** Of the header. */
  readonly key?: string
  /** In place of the kit's own; null: no Authorization at all. */
  readonly token?: string | null
}

export interface Answer {
  /** What was sent, for people: method, path, key and body. */
  readonly sent: string
  readonly status: number
  readonly contentType: string
  /** Undefined where it is no JSON. */
  readonly body: unknown
  readonly text: string
}

/** A call that got no answer: out of time, refused, cut, too large. */
export class NoAnswerError extends Error {
  readonly sent: string
  constructor(sent: string, why: string) {
    super(why)
    this.sent = sent
  }
}

/** Throws `NoAnswerError`. */
export type Caller = (call: Call) => Promise<Answer>

export interface CallerOptions {
  readonly url: string
  readonly token: string
  readonly callMs: number
  /** Ends what is under way. */
  readonly signal: AbortSignal
}

const MOST_BYTES = 32 * 1024 * 1024
/** A call that was not taken (429) is sent again, so often at most, after as long as the wallet asks for up to a bound. */
const ATTEMPTS = 10
const LONGEST_PAUSE_MS = 2000
const PAUSE_MS = 100

export function createCaller(options: CallerOptions): Caller {
  return async call => {
    for (let attempt = 1; ; attempt++) {
      const { answer, pauseMs } = await callOnce(call, options)
      if (answer.status !== 429 || attempt === ATTEMPTS) return answer
      await delay(pauseMs)
      options.signal.throwIfAborted()
    }
  }
}

async function callOnce(
  call: Call,
  { url, token, callMs, signal }: CallerOptions,
): Promise<{ readonly answer: Answer; readonly pauseMs: number }> {
  const sent = sentence(call)
  const { method, path, body } = call
  const timeout = AbortSignal.timeout(callMs)
  try {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: headersOf(call, token),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.any([timeout, signal]),
    })
    const text = await textOf(response)
    const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
    const pauseMs = seconds >= 0 ? Math.min(seconds * 1000, LONGEST_PAUSE_MS) : PAUSE_MS
    const contentType = response.headers.get('content-type') ?? ''
    return { answer: { sent, status: response.status, contentType, body: jsonOf(text), text }, pauseMs }
  } catch (error) {
    signal.throwIfAborted()
    throw new NoAnswerError(sent, timeout.aborted ? `no answer within ${callMs / 1000} s` : reasonOf(error))
  }
}

function headersOf({ body, key, token: own }: Call, token: string): Readonly<Record<string, string>> {
  return {
    ...(own === null ? {} : { authorization: `Bearer ${own ?? token}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(key === undefined ? {} : { 'idempotency-key': key }),
  }
}

async function textOf(response: Response): Promise<string> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of response.body ?? []) {
    pieces.push(piece)
    size += piece.byteLength
    if (size > MOST_BYTES) throw new Error(`an answer of more than ${MOST_BYTES / 1024 / 1024} MiB`)
  }
  return Buffer.concat(pieces).toString()
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What fetch failed with is mostly in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0])
  return cause instanceof Error ? cause.message || cause.name : String(cause)
}

function sentence({ method, path, key, body, token }: Call): string {
  const parts = [
    `${method} ${path}`,
    ...(key === undefined ? [] : [`Idempotency-Key: ${key}`]),
    ...(token === undefined ? [] : [token === null ? '(without a token)' : '(with a wrong token)']),
    ...(body === undefined ? [] : [typeof body === 'string' ? body : JSON.stringify(body)]),
  ]
  return parts.join(' ')
}
