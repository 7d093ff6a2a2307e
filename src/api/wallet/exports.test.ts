import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createExports, type Exports } from './exports.ts'

let app: FastifyInstance
let exports: Exports
let parts: () => AsyncGenerator<string, void>
let isReturned = false
let url = ''

const MIB = 'x'.repeat(1024 * 1024)

beforeEach(async () => {
  exports = createExports({ most: 2, stalledMs: 150 })
  isReturned = false
  app = Fastify({ handlerTimeout: 150 })
  app.addHook('preClose', async () => exports.close())
  app.get('/', async (request, reply) => {
    return await exports.answer(request, reply, { contentType: 'text/csv', fileName: 'a.csv', parts: parts() })
  })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
})
afterEach(() => app.close())

async function open(): Promise<IncomingMessage> {
  const [answer] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage]
  return answer
}

/** Until the answer has ended, one way or the other. */
async function read(answer: IncomingMessage): Promise<{ readonly text: string; readonly isWhole: boolean }> {
  let text = ''
  answer.setEncoding('utf8').on('data', more => {
    text += more
  })
  answer.on('error', () => {})
  await new Promise(resolve => answer.once('close', resolve))
  return { text, isWhole: answer.complete }
}

async function* endless(): AsyncGenerator<string, void> {
  try {
    while (true) yield MIB
  } finally {
    isReturned = true
  }
}

const later = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

test('it is whole when all parts are sent, also when that takes longer than an answer may', async () => {
  parts = async function* () {
    yield 'a'
    await later(300)
    yield 'b'
  }
  expect(await read(await open())).toEqual({ text: 'ab', isWhole: true })
})

test('one without any parts is whole, and empty', async () => {
  parts = async function* () {}
  expect(await read(await open())).toEqual({ text: '', isWhole: true })
})

test('a failure before the first part is answered as one, and gives its place back', async () => {
  parts = async function* () {
    yield* []
    throw new Error('no database')
  }
  for (let time = 0; time < 3; time++) expect((await open()).statusCode).toBe(500)
})

test('a failure on the way cuts it', async () => {
  parts = async function* () {
    yield 'a'
    throw new Error('no database any more')
  }
  expect(await read(await open())).toMatchObject({ isWhole: false })
})

test('a client that takes nothing for too long has gone; the place is free again', async () => {
  parts = endless
  const stalled = await Promise.all([open(), open()])
  expect((await open()).statusCode).toBe(429)
  await later(450)
  expect(isReturned).toBe(true)
  for (const answer of stalled) expect((await read(answer)).isWhole).toBe(false)
  parts = async function* () {
    yield 'a'
  }
  expect(await read(await open())).toEqual({ text: 'a', isWhole: true })
})

test('a reading that takes its time is not taken for a client that has gone', async () => {
  parts = async function* () {
    yield 'a'
    await later(250)
    yield MIB
    await later(250)
    yield 'b'
  }
  expect(await read(await open())).toEqual({ text: `a${MIB}b`, isWhole: true })
})

test('a server that stops cuts it and is not kept waiting', async () => {
  parts = endless
  const answer = await open()
  const closing = app.close()
  expect((await read(answer)).isWhole).toBe(false)
  await closing
  expect(isReturned).toBe(true)
})
