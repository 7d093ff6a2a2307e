/**
 * A server at the level of bytes, for what no proper server does: it reads requests, and a test says what goes over the
 * wire for each.
 */
import { createServer, type Socket } from 'node:net'

export interface RawRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Of the connection, from 0. */
  readonly index: number
  readonly socket: Socket
}

export interface RawServer {
  readonly url: string
  /** All requests so far, in the order they were read. */
  readonly requests: readonly RawRequest[]
  /** How many connections were opened so far, and how many are open. */
  connections(): { readonly opened: number; readonly open: number }
  /** How often something was read from a connection so far. */
  reads(): number
  /** Ends every connection and takes no more; its port is free then. */
  close(): Promise<void>
}

/** @param port 0: any free one. */
export async function openRawServer(handle: (request: RawRequest) => void, port = 0): Promise<RawServer> {
  const requests: RawRequest[] = []
  const sockets = new Set<Socket>()
  let opened = 0
  let reads = 0
  const server = createServer(socket => {
    opened++
    sockets.add(socket)
    let text = ''
    let index = 0
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', chunk => {
      reads++
      text += chunk.toString('latin1')
      for (let read = readRequest(text); read !== null; read = readRequest(text)) {
        text = text.slice(read.length)
        const request = { ...read.request, index: index++, socket }
        requests.push(request)
        handle(request)
      }
    })
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    reads: () => reads,
    connections: () => ({ opened, open: sockets.size }),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}

/** An answer as it goes over the wire. */
export function answerText(
  status: number,
  body: unknown = '',
  headers: Readonly<Record<string, string>> = { 'Content-Type': 'application/json' },
): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const lines = Object.entries({ ...headers, 'Content-Length': String(Buffer.byteLength(text)) })
  return `HTTP/1.1 ${status} Said\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`
}

/** What a wallet of any level answers to a request that it does, replaying nothing. */
export function appliedBody({ path, headers, body }: Pick<RawRequest, 'path' | 'headers' | 'body'>): object {
  const asked = JSON.parse(body) as Readonly<Record<string, unknown>>
  const type = path.endsWith('/debits') ? 'debit' : 'credit'
  return appliedItem({ key: headers['idempotency-key'] ?? null, type, ...asked })
}

/** The same of an operation inside a batch. */
export function appliedItem(operation: Readonly<Record<string, unknown>>): object {
  if (operation['type'] === 'reversal') return { key: operation['key'], status: 'reversed', replayed: false }
  const { key, type, user_id, currency, amount } = operation
  const at = '2026-11-22T12:00:00.123Z'
  return {
    key,
    type,
    user_id,
    currency,
    amount,
    status: 'applied',
    balance_after: '1',
    applied_at: at,
    replayed: false,
  }
}

function readRequest(
  text: string,
): { readonly request: Omit<RawRequest, 'index' | 'socket'>; readonly length: number } | null {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return null
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers = Object.fromEntries(
    lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const length = end + 4 + Number(headers['content-length'] ?? 0)
  if (text.length < length) return null
  return { request: { method, path, headers, body: text.slice(end + 4, length) }, length }
}
