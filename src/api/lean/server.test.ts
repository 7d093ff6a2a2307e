import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createLeanServer, type LeanServer } from './server.ts'

let server: LeanServer | undefined
afterEach(() => server?.close(0))

/** Milliseconds until the connection is over, and what came on it. */
async function asked(answerMs?: number): Promise<{ readonly tookMs: number; readonly text: string }> {
  server = createLeanServer({
    connect: () => request =>
      request.target === '/quick'
        ? { status: 200, headers: '', body: 'done' }
        : new Promise(resolve => setTimeout(resolve, 2500, { status: 200, headers: '', body: 'late', isLast: true })),
    takeOver: socket => socket.destroy(),
    limits: { headBytes: 1000, bodyBytes: 1000 },
    requestMs: 10_000,
    ...(answerMs === undefined ? {} : { answerMs }),
  })
  const { hostname, port } = new URL(await server.listen({ host: '127.0.0.1', port: 0 }))
  const began = performance.now()
  return await new Promise(resolve => {
    let text = ''
    const socket = connect({ host: hostname, port: Number(port) })
    socket.setEncoding('latin1').on('data', (more: string) => {
      text += more
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve({ tookMs: performance.now() - began, text }))
    socket.write('GET /quick HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  })
}

test('a request that is not answered in time ends its connection, behind the answers that were there', async () => {
  const { tookMs, text } = await asked(200)
  expect(text).toContain('done')
  expect(text).not.toContain('late')
  expect(tookMs).toBeLessThan(2400)
})

test('without a limit an answer may take any time', async () => {
  const { text } = await asked()
  expect(text).toContain('late')
})
