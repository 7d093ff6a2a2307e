import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { InjectOptions } from 'fastify'
import type { App } from '../../src/api/app.ts'
import { seededRandom } from './process.ts'

/** What goes wrong with a call; those of `after` are handled first. */
const FAULTS = {
  before: ['drop', '500', '503', '429', 'redirect', 'html'],
  after: ['drop', 'cut', '500', 'html', 'wrong key', 'wrong amount', 'garbage', 'endless'],
} as const
type Fault = (typeof FAULTS)['before' | 'after'][number]

export interface UnsteadyServer {
  readonly url: string
  /** How often each fault was put in. */
  readonly faults: ReadonlyMap<string, number>
  close(): Promise<void>
}

/** The server of a wallet behind an address of its own, where a share of the calls, by a seed, goes wrong in some way. */
export async function openUnsteadyServer(app: App, share: number, seed: number): Promise<UnsteadyServer> {
  const random = seededRandom(seed)
  const faults = new Map<string, number>()

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const isFaulty = request.method === 'POST' && random() < share
    const when = random() < 0.5 ? 'before' : 'after'
    const fault = isFaulty ? (FAULTS[when][Math.floor(random() * FAULTS[when].length)] as Fault) : null
    if (fault !== null) faults.set(`${fault} ${when}`, (faults.get(`${fault} ${when}`) ?? 0) + 1)
    if (fault !== null && when === 'before') return spoil(response, fault, '')
    const { statusCode, headers, payload } = await app.inject({
      method: request.method as NonNullable<InjectOptions['method']>,
      url: request.url ?? '/',
      headers: request.headers,
      payload: Buffer.concat(pieces),
    })
    if (fault !== null) return spoil(response, fault, payload)
    response.writeHead(statusCode, { 'content-type': String(headers['content-type']) }).end(payload)
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    faults,
    close: async () => {
      server.closeAllConnections()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}

function spoil(response: ServerResponse, fault: Fault, payload: string): void {
  const json = { 'content-type': 'application/json' }
  switch (fault) {
    case 'drop':
      response.destroy()
      return
    case 'cut':
      response.writeHead(200, { ...json, 'content-length': payload.length + 10 })
      response.write(payload)
      setTimeout(() => response.destroy(), 5)
      return
    case '500':
    case '503':
      response.writeHead(Number(fault), { 'retry-after': fault === '503' ? '0' : 'soon' }).end('')
      return
    case '429':
      response.writeHead(429, { 'retry-after': '-1' }).end('')
      return
    case 'redirect':
      response.writeHead(302, { location: '/v1/credits' }).end('')
      return
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>It works!</html>')
      return
    case 'wrong key':
      response.writeHead(200, json).end(payload.replace(/"key":"[^"]*"/, '"key":"of-another"'))
      return
    case 'wrong amount':
      response.writeHead(200, json).end(payload.replace(/"amount":"[^"]*"/g, '"amount":"0.00000001"'))
      return
    case 'garbage':
      response.socket?.end(Buffer.from([0, 159, 146, 150]))
      return
    case 'endless':
      response.writeHead(200, json).write('[')
  }
}
