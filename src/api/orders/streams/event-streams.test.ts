import Fastify from 'fastify'
import { afterEach, expect, test } from 'vitest'
import { type EventStream, openStream } from '../../../../test/support/event-stream.ts'
import { until } from '../../../../test/support/process.ts'
import { createVirtualClock } from '../../../../test/support/virtual-clock.ts'
import type { App } from '../../app.ts'
import type { Principal } from '../../auth.ts'
import { createEventStreams, type EventStreamsOptions } from './event-streams.ts'
import type { Reader } from './feed.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Built {
  readonly clock: ReturnType<typeof createVirtualClock>
  readonly readers: Reader[]
  readonly stopped: () => number
  readonly open: (keyId?: string) => Promise<EventStream>
  readonly close: () => Promise<unknown>
}

async function build(options: Partial<EventStreamsOptions> & { readonly text?: string | null } = {}): Promise<Built> {
  const clock = createVirtualClock()
  const readers: Reader[] = []
  let stopped = 0
  const { text = 'event: first\ndata: 1\n\n', ...others } = options
  const streams = createEventStreams({
    ...{ clock, most: 3, mostOfKey: 3, aheadBytes: 1024 * 1024, isStillGood: async () => true },
    ...others,
  })
  const app: App = Fastify()
  app.decorateRequest('principal', null as unknown as Principal)
  app.addHook('onRequest', async request => {
    const [, keyId = ''] = request.headers.authorization?.split(' ') ?? []
    request.principal = { role: 'viewer', userId: null, name: 'viewer', ...(keyId === 'admin' ? {} : { keyId }) }
  })
  app.addHook('preClose', async () => streams.close())
  app.get('/', async (request, reply) =>
    streams.answer(request, reply, async () => reader => {
      if (text === null) return null
      readers.push(reader)
      return { text, stop: () => stopped++ }
    }),
  )
  closing.push(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const open = async (keyId = 'a-key') => {
    const stream = await openStream(url, keyId)
    closing.push(() => stream.close())
    return stream
  }
  return { clock, readers, stopped: () => stopped, open, close: () => app.close() }
}

test('a comment goes out every fifteen seconds', async () => {
  const { clock, open } = await build()
  const stream = await open()
  await stream.until('it has begun', events => events.length === 1)
  for (const seconds of [15, 30]) {
    await clock.advance(15_000)
    await until(
      `the comment of ${seconds} s is there`,
      async () => stream.text().split(':\n\n').length === seconds / 15 + 1,
    )
  }
  expect(stream.text()).toBe('retry: 1000\n\nevent: first\ndata: 1\n\n:\n\n:\n\n')
})

test('a stream ends once its key is good no longer, or can not be looked up', async () => {
  for (const later of [async () => false, () => Promise.reject(new Error('no database'))]) {
    let isGood: () => Promise<boolean> = async () => true
    const { clock, open, stopped } = await build({ isStillGood: () => isGood() })
    const stream = await open()
    await clock.advance(5000)
    expect(stream.hasEnded()).toBe(false)
    isGood = later
    await clock.advance(5000)
    await until('it has ended', async () => stream.hasEnded() && stopped() === 1)
  }
})

test('there are only so many at once, and each that ends makes room', async () => {
  const { open, stopped } = await build({ most: 2 })
  const [first] = [await open(), await open()]
  expect((await open()).status).toBe(429)
  first?.close()
  await until('one has ended', async () => stopped() === 1)
  expect((await open()).status).toBe(200)
})

test('one key has only so many of them, and leaves the others theirs', async () => {
  const { open, stopped } = await build({ most: 5, mostOfKey: 2 })
  const [first] = [await open('one'), await open('one')]
  expect((await open('one')).status).toBe(429)
  expect([(await open('other')).status, (await open('admin')).status, (await open('admin')).status]).toEqual([
    200, 200, 200,
  ])
  expect([(await open('other')).status, (await open('admin')).status]).toEqual([429, 429])
  first?.close()
  await until('one has ended', async () => stopped() === 1)
  expect((await open('one')).status).toBe(200)
})

test('a client that does not read is cut off, and others go on', async () => {
  const { open, readers, stopped } = await build({ aheadBytes: 1024 * 1024 })
  const [slow, quick] = [await open(), await open()]
  await slow.until('it has begun', events => events.length === 1)
  slow.stall()
  const text = `event: more\ndata: ${JSON.stringify('x'.repeat(512 * 1024))}\n\n`
  let sent = 0
  await until('the slow one is cut', async () => {
    for (const reader of readers) reader.send(text)
    sent++
    await quick.until('the quick one has it', events => events.length === sent + 1)
    return stopped() === 1
  })
  expect(quick.hasEnded()).toBe(false)
  for (const reader of readers) reader.send(text)
  await quick.until('it goes on', events => events.length === sent + 2)
})

test('the first text may be longer than what may wait', async () => {
  const long = `event: first\ndata: ${JSON.stringify('x'.repeat(4 * 1024 * 1024))}\n\n`
  const { open, readers } = await build({ aheadBytes: 1024, text: long })
  const stream = await open()
  await until('it has begun', async () => readers.length === 1)
  readers[0]?.send('event: next\ndata: 2\n\n')
  await stream.until('both are there', events => events.length === 2)
})

test('what has ended before it could be followed is a stream without events', async () => {
  const { open } = await build({ text: null, most: 1 })
  for (let round = 0; round < 3; round++) {
    const stream = await open()
    await until('it has ended', async () => stream.hasEnded())
    expect([stream.status, stream.events()]).toEqual([200, []])
  }
})

test('a server that closes waits for nobody, not even for who does not read', async () => {
  const { open, readers, close } = await build()
  const [reading, stalled] = [await open(), await open()]
  await stalled.until('it has begun', events => events.length === 1)
  stalled.stall()
  for (let round = 0; round < 100; round++) readers[1]?.send(`event: x\ndata: "${'x'.repeat(1024 * 64)}"\n\n`)
  const before = performance.now()
  await close()
  expect(performance.now() - before).toBeLessThan(1000)
  await until('the one that reads has ended', async () => reading.hasEnded())
})
