import { connect, type Socket } from 'node:net'

/** HTTP as bytes: for what no client would send, and for answers that no client would take. */
export interface RawConnection {
  send(text: string | Buffer): void
  /** What has come so far, byte by byte. */
  received(): string
  /** Resolves with whether so many bytes, or so much as the function wants, came; false: the time is up. */
  until(isThere: (received: string) => boolean, deadlineMs?: number): Promise<boolean>
  /** Resolves when the other side has ended the connection; false: the time is up. */
  ended(deadlineMs?: number): Promise<boolean>
  close(): void
}

const DEADLINE_MS = 5000

export async function openRaw(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url)
  const socket: Socket = connect({ host: hostname, port: Number(port), noDelay: true })
  let received = ''
  let isEnded = false
  let wake = (): void => {}
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
    wake()
  })
  socket.on('close', () => {
    isEnded = true
    wake()
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})

  async function until(isTrue: () => boolean, deadlineMs: number): Promise<boolean> {
    let isLate = false
    // By the timer alone: by another clock it may fire a moment too early, and nothing would wake anyone again.
    const giveUp = setTimeout(() => {
      isLate = true
      wake()
    }, deadlineMs)
    while (!isTrue() && !isLate) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
    clearTimeout(giveUp)
    return isTrue()
  }

  return {
    send: text => socket.write(text),
    received: () => received,
    until: (isThere, deadlineMs = DEADLINE_MS) => until(() => isThere(received), deadlineMs),
    ended: (deadlineMs = DEADLINE_MS) => until(() => isEnded, deadlineMs),
    close: () => socket.destroy(),
  }
}

export interface RawAnswer {
  readonly status: number
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The answers in what was received; one that is not whole is left out. */
export function answersIn(received: string): readonly RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let at = 0; ; ) {
    const headEnd = received.indexOf('\r\n\r\n', at)
    if (headEnd === -1) return answers
    const [line = '', ...fields] = received.slice(at, headEnd).split('\r\n')
    const headers = Object.fromEntries(
      fields.map(field => [
        field.slice(0, field.indexOf(':')).toLowerCase(),
        field.slice(field.indexOf(':') + 1).trim(),
      ]),
    )
    const end = headEnd + 4 + Number(headers['content-length'] ?? 0)
    if (received.length < end) return answers
    answers.push({ status: Number(line.split(' ')[1]), headers, body: received.slice(headEnd + 4, end) })
    at = end
  }
}

/** A request as a client would write it. */
export function request(
  method: string,
  target: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): string {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  const all = {
    host: 'wallet',
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(text)}` }),
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n${text}`).toString('latin1')
}
