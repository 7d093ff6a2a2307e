/**
 * A small HTTP/1.1 server for the few calls that come by the ten thousands. node:http and the framework on it cost about
 * 80 µs a call; this costs about a quarter of that, since it reads and writes whole chunks of pipelined requests and makes
 * no object that nobody looks at. It knows nothing of routes, and of HTTP only what is usual (request-reader.ts).
 */
import { createServer as createNetServer, type Server, type Socket } from 'node:net'
import { KEEP_ALIVE_SECONDS } from './answer.ts'
import { type Connection, type Handle, openConnection } from './connection.ts'
import type { ReaderLimits } from './request-reader.ts'

export interface LeanOptions {
  /** Called for each connection: its handler may remember what it found out about its client. */
  readonly connect: () => Handle
  /** Of targets whose answers are streams; they go with their connection to `takeOver`. */
  readonly isStreamed?: (target: string) => boolean
  readonly takeOver: (socket: Socket) => void
  readonly limits: ReaderLimits
  /** The most time that the parts of a request may take to arrive. */
  readonly requestMs: number
  /** The most time that it may then take to be answered; its connection is cut after it. Not given: any. */
  readonly answerMs?: number
}

export interface LeanServer {
  /** Resolves with the URL. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>
  /** Refuses connections and cuts those there are; listens again, on the same port, after so many milliseconds. */
  closePort(ms: number): void
  /** Takes nothing new, answers what is under way for at most so long, and cuts what is left. */
  close(graceMs: number): Promise<void>
}

const MOST_CONNECTIONS = 10_000
const LOOK_MS = 1000

export function createLeanServer(options: LeanOptions): LeanServer {
  const {
    connect,
    isStreamed = () => false,
    takeOver,
    limits,
    requestMs,
    answerMs = Number.POSITIVE_INFINITY,
  } = options
  const connections = new Map<Socket, Connection>()
  let server = newServer()
  let address = { host: '', port: 0 }
  let isClosing = false
  let reopening: NodeJS.Timeout | null = null

  function newServer(): Server {
    const made = createNetServer({ allowHalfOpen: true, noDelay: true }, socket => {
      connections.set(socket, openConnection(socket, { handle: connect(), isStreamed, takeOver, limits }))
      socket.once('close', () => connections.delete(socket))
    })
    made.maxConnections = MOST_CONNECTIONS
    return made
  }

  async function open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(address, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
  }

  const watch = setInterval(() => {
    const now = performance.now()
    for (const connection of connections.values()) {
      const sinceMs = connection.unansweredSinceMs()
      // Whoever asked learns that nothing is known, and may ask again under its key.
      if (sinceMs !== null && now - sinceMs > answerMs) connection.destroy()
      const waiting = connection.waiting()
      if (waiting === null) continue
      const most = waiting.isWithin ? requestMs : KEEP_ALIVE_SECONDS * 1000
      if (now - waiting.sinceMs > most) connection.finish()
    }
  }, LOOK_MS).unref()

  function cutAll(): void {
    for (const socket of connections.keys()) socket.destroy()
  }

  function reopen(): void {
    reopening = null
    if (isClosing) return
    server = newServer()
    // Somebody may have taken the port meanwhile; it is tried until it is free again.
    open().catch(() => {
      reopening = setTimeout(reopen, LOOK_MS)
    })
  }

  return {
    listen: async wanted => {
      address = wanted
      await open()
      const bound = server.address()
      if (bound === null || typeof bound === 'string') throw new Error('the server listens on no port')
      address = { host: wanted.host, port: bound.port }
      return `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
    },
    closePort: ms => {
      if (isClosing || reopening !== null) return
      reopening = setTimeout(reopen, ms)
      server.close()
      cutAll()
    },
    close: async graceMs => {
      isClosing = true
      clearInterval(watch)
      if (reopening !== null) clearTimeout(reopening)
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      for (const connection of connections.values()) connection.finish()
      const giveUpAt = performance.now() + graceMs
      const isBusy = (): boolean => [...connections.values()].some(connection => connection.underWay() > 0)
      while (isBusy() && performance.now() < giveUpAt) await new Promise(resolve => setTimeout(resolve, 5))
      // The last answers are on their way: an end is sent behind them, a cut would overtake them.
      await new Promise(resolve => setTimeout(resolve, 5))
      cutAll()
      await closed
    },
  }
}
