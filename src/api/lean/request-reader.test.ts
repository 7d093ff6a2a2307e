import { expect, test } from 'vitest'
import { type ReaderLimits, readRequest } from './request-reader.ts'

const LIMITS: ReaderLimits = { headBytes: 500, bodyBytes: 100 }

const read = (text: string) => readRequest(Buffer.from(text, 'latin1'), 0, LIMITS)
const GOOD = 'POST /v1/debits?x=%20 HTTP/1.1\r\nHost: a\r\nIDEMPOTENCY-key:  k 1 \r\nContent-Length: 4\r\n\r\n'

test('a request is read as it was written, and says where the next begins', () => {
  const reading = readRequest(Buffer.from(`skipped${GOOD}bodyGET / HTTP`), 7, LIMITS)
  expect(reading).toMatchObject({ kind: 'request', end: 7 + GOOD.length + 4 })
  expect(reading.kind === 'request' && { ...reading.request, body: reading.request.body.toString() }).toEqual({
    method: 'POST',
    target: '/v1/debits?x=%20',
    headers: { host: 'a', 'idempotency-key': 'k 1', 'content-length': '4' },
    body: 'body',
    staysOpen: true,
  })
})

test('any part of a request asks for more, and names what it needs as soon as it can be known', () => {
  for (let length = 0; length < GOOD.length + 4; length++) {
    const reading = read(`${GOOD}body`.slice(0, length))
    expect(reading.kind, `${length}`).toBe('more')
    const needed = length < GOOD.length ? length + 1 : GOOD.length + 4
    expect(reading.kind === 'more' && reading.needed).toBe(needed)
  }
})

test('a body in chunks is put together, wherever the bytes were parted', () => {
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const whole = `${head}3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n`
  for (let length = 0; length < whole.length; length++) expect(read(whole.slice(0, length)).kind).toBe('more')
  const reading = read(`${whole}GET`)
  expect(reading.kind === 'request' && reading.request.body.toString()).toBe('abc0123456789')
  expect(reading).toMatchObject({ end: whole.length })
})

test.each([
  ['HTTP/1.1', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', true],
  ['HTTP/1.1 that closes', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n', false],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', false],
  ['HTTP/1.0 that stays', 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', true],
])('%s: whether another request may follow', (_, text, staysOpen) => {
  expect(read(text)).toMatchObject({ kind: 'request', request: { staysOpen } })
})

test('what was repeated is joined; a client that waits for 100 is told of', () => {
  const cookies = 'GET / HTTP/1.1\r\nHost: a\r\nVia: x\r\nCookie: 1\r\nvia: y\r\ncookie: 2\r\n\r\n'
  expect(read(cookies)).toMatchObject({ request: { headers: { via: 'x, y', cookie: '1; 2' } } })
  const expecting = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n'
  expect(read(expecting)).toMatchObject({ kind: 'more', expectsContinue: true })
})

const withFields = (fields: string): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

test.each([
  ['no HTTP at all', '\x16\x03\x01\r\n\r\n'],
  ['another version', 'GET / HTTP/2.0\r\n\r\n'],
  ['HEAD', 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a method in small letters', 'get / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an absolute target', 'GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an empty line in front', '\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two hosts', withFields('Host: b\r\n')],
  ['two lengths', withFields('Content-Length: 1\r\nContent-Length: 1\r\n')],
  ['two keys', withFields('Idempotency-Key: a\r\nIdempotency-Key: b\r\n')],
  ['a length that is none', withFields('Content-Length: +1\r\n')],
  ['a length and chunks', withFields('Content-Length: 1\r\nTransfer-Encoding: chunked\r\n')],
  ['another coding', withFields('Transfer-Encoding: gzip, chunked\r\n')],
  ['a space before the colon', withFields('Content-Length : 1\r\n')],
  ['a folded field', withFields('Via: a\r\n b\r\n')],
  ['a line that ends too soon', withFields('Via: a\nContent-Length: 3\r\n')],
  ['a control character', withFields('Via: a\x00\r\n')],
  ['a prototype', withFields('__proto__: a\r\n')],
  ['an upgrade', withFields('Upgrade: websocket\r\n')],
  ['a connection that says more', withFields('Connection: keep-alive, Upgrade\r\n')],
  ['another expectation', withFields('Expect: miracle\r\n')],
  ['lines that end in line feeds', 'GET / HTTP/1.1\nHost: a\n'],
  ['a head without an end', `GET / HTTP/1.1\r\nVia: ${'x'.repeat(LIMITS.headBytes)}`],
  ['a body above the limit', withFields('Content-Length: 101\r\n')],
  ['chunks above the limit', `${withFields('Transfer-Encoding: chunked\r\n')}65\r\n`],
  ['a chunk without a size', `${withFields('Transfer-Encoding: chunked\r\n')}x\r\n`],
  ['a chunk longer than it says', `${withFields('Transfer-Encoding: chunked\r\n')}1\r\nabcd`],
  ['fields after the body', `${withFields('Transfer-Encoding: chunked\r\n')}0\r\nVia: x\r\n\r\n`],
])('%s is unusual', (_, text) => {
  expect(read(text)).toEqual({ kind: 'unusual' })
})
