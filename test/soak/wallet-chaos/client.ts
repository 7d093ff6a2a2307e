/** A client with a connection of its own, which is cut at random; it makes a call again until it is answered. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { answersIn, type RawAnswer } from '../../support/raw-http.ts'

/** Where the connection is cut: in the middle of the request, right after it, or while the answer is waited for. */
export type Cut = 'within' | 'after' | 'waiting'

const ANSWER_MS = 20_000

export class Connection {
  readonly #host: string
  readonly #port: number
  #socket: Socket | null = null

  constructor(url: string) {
    const { hostname, port } = new URL(url)
    this.#host = hostname
    this.#port = Number(port)
  }

  /** Null: the connection was cut, from this side or the other, before the answer was there. */
  async call(request: string, cut: Cut | null, random: () => number): Promise<RawAnswer | null> {
    const socket = await this.#open()
    if (socket === null) return null
    let received = ''
    const take = (text: string): void => {
      received += text
      const [answer] = answersIn(received)
      if (answer !== undefined) settled.resolve(answer)
    }
    const settled = Promise.withResolvers<RawAnswer | null>()
    const lost = (): void => settled.resolve(null)
    socket.on('data', take).once('close', lost)
    const late = setTimeout(() => settled.reject(new Error(`no answer within ${ANSWER_MS} ms: ${request}`)), ANSWER_MS)
    try {
      await this.#send(socket, request, cut, random)
      return await settled.promise
    } finally {
      clearTimeout(late)
      socket.off('data', take).off('close', lost)
    }
  }

  async #send(socket: Socket, request: string, cut: Cut | null, random: () => number): Promise<void> {
    if (cut === 'within') {
      socket.write(request.slice(0, 1 + Math.floor(random() * (request.length - 1))), 'latin1', () => socket.destroy())
      return
    }
    socket.write(request, 'latin1', () => {
      if (cut === 'after') socket.destroy()
    })
    if (cut === 'waiting') {
      await delay(random() * 12)
      socket.destroy()
    }
  }

  close(): void {
    this.#socket?.destroy()
  }

  /** Null: nobody is there. */
  async #open(): Promise<Socket | null> {
    const kept = this.#socket
    if (kept !== null && !kept.destroyed && kept.readable) return kept
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true })
    socket.setEncoding('latin1')
    this.#socket = socket
    return await new Promise(resolve => {
      socket.once('connect', () => resolve(socket))
      socket.on('error', () => resolve(null))
    })
  }
}
