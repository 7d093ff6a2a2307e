/** A client of server-sent events that keeps all that comes. */
import { get, type IncomingMessage } from 'node:http'
import { until } from './process.ts'

export interface StreamEvent {
  readonly name: string
  readonly id: string
  /** Whatever JSON came, for tests to look into. */
  readonly data: ReturnType<typeof JSON.parse>
}

export interface EventStream {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** So far. */
  events(): readonly StreamEvent[]
  text(): string
  until(what: string, isThere: (events: readonly StreamEvent[]) => boolean): Promise<readonly StreamEvent[]>
  /** Reads no more, and leaves the connection as it is. */
  stall(): void
  hasEnded(): boolean
  close(): void
}

export async function openStream(url: string, key: string, lastId?: string): Promise<EventStream> {
  const headers = {
    authorization: `Bearer ${key}`,
    ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
  }
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { headers, agent: false }, resolve).on('error', reject)
  })
  let text = ''
  let ended = false
  answer.setEncoding('utf8')
  answer.on('data', (part: string) => {
    text += part
  })
  answer.on('error', () => {})
  answer.on('close', () => {
    ended = true
  })
  const events = (): readonly StreamEvent[] => eventsIn(text)
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    events,
    text: () => text,
    until: async (what, isThere) => {
      await until(what, async () => isThere(events()))
      return events()
    },
    stall: () => {
      answer.pause()
    },
    hasEnded: () => ended,
    close: () => answer.destroy(),
  }
}

/** Those that are whole; comments and what sets the time to wait are none. */
function eventsIn(text: string): readonly StreamEvent[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .flatMap(block => {
      const field = (name: string): string =>
        block
          .split('\n')
          .find(line => line.startsWith(`${name}: `))
          ?.slice(name.length + 2) ?? ''
      const name = field('event')
      return name === '' ? [] : [{ name, id: field('id'), data: JSON.parse(field('data')) }]
    })
}
