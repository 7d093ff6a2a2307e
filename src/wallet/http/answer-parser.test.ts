import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AnswerFault, createAnswerParser, type ParsedAnswer } from './answer-parser.ts'

interface Read {
  readonly answers: readonly ParsedAnswer[]
  readonly fault: AnswerFault | null
}

const LIMITS = { maxHeadBytes: 2000, maxBodyBytes: 5000 }

/** Reads the pieces, then the end of the connection, as a client does. */
function readPieces(pieces: readonly Buffer[], isEnded = false): Read {
  const answers: ParsedAnswer[] = []
  const parser = createAnswerParser({ ...LIMITS, onAnswer: answer => answers.push(answer) > 0 })
  for (const piece of pieces) {
    const fault = parser.push(piece)
    if (fault !== null) return { answers, fault }
  }
  return { answers, fault: isEnded ? parser.end() : null }
}

function read(text: string, isEnded = false): Read {
  return readPieces([Buffer.from(text, 'utf8')], isEnded)
}

/** Every way to cut it in two, and byte by byte, must come to the same as whole. */
function everyCut(text: string, isEnded: boolean): readonly Read[] {
  const bytes = Buffer.from(text, 'utf8')
  const inTwo = Array.from({ length: bytes.length + 1 }, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)])
  const single = Array.from({ length: bytes.length }, (_, at) => bytes.subarray(at, at + 1))
  return [...inTwo, single].map(pieces => readPieces(pieces, isEnded))
}

const SIZED = 'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\ncontent-LENGTH: 9\r\n\r\n{"a":"é"}'.replace(
  'LENGTH: 9',
  `LENGTH: ${Buffer.byteLength('{"a":"é"}')}`,
)
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4;x="y"\r\n{"a"\r\n0003\r\n:1}\r\n0\r\nTrailer: is dropped\r\n\r\n'
const EMPTY = 'HTTP/1.1 200\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n'
const INTERIM = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'
const UNTIL_END = 'HTTP/1.1 200 OK\r\n\r\n{"a":1}'

describe('answers, cut at every byte', () => {
  test.each([
    ['sized', SIZED, [['{"a":"é"}', 201]]],
    ['chunked, with extensions and trailers', CHUNKED, [['{"a":1}', 200]]],
    ['empty', EMPTY, [['', 200]]],
    ['interim ones before it', INTERIM + SIZED, [['{"a":"é"}', 201]]],
    [
      'of 204 and 304, without a body whatever they say',
      `HTTP/1.1 204 No\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 7\r\n\r\n`,
      [
        ['', 204],
        ['', 304],
      ],
    ],
    [
      'several on one connection',
      SIZED + CHUNKED + EMPTY + SIZED,
      [
        ['{"a":"é"}', 201],
        ['{"a":1}', 200],
        ['', 200],
        ['{"a":"é"}', 201],
      ],
    ],
    [
      'until the end of the connection',
      SIZED + UNTIL_END,
      [
        ['{"a":"é"}', 201],
        ['{"a":1}', 200],
      ],
    ],
  ] as const)('%s', (_, text, wanted) => {
    for (const { answers, fault } of everyCut(text, true)) {
      expect(fault).toBeNull()
      expect(answers.map(({ body, status }) => [body, status])).toEqual(wanted)
    }
  })

  test.each([
    ['in its head', SIZED.slice(0, 30)],
    ['in its body', SIZED.slice(0, -1)],
    ['in a chunk', CHUNKED.slice(0, 70)],
    ['before its last chunk', CHUNKED.slice(0, CHUNKED.indexOf('\r\n0\r\n') + 2)],
    ['in its trailer', CHUNKED.slice(0, -2)],
  ])('cut off %s is no answer', (_, text) => {
    for (const { answers, fault } of everyCut(text, true)) expect([answers, fault]).toEqual([[], 'ANSWER_CUT'])
  })
})

describe('what it says', () => {
  test('names are of any case, values without the space around them', () => {
    const [answer] = read(
      'HTTP/1.1 429 Slow\r\nRETRY-after:\t 5 \r\nContent-type:a/b;c=d\r\ncontent-length: 0\r\n\r\n',
    ).answers
    expect(answer).toMatchObject({ status: 429, retryAfter: '5', contentType: 'a/b;c=d', isLast: false, keptMs: null })
  })

  test.each([
    ['HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n', true],
    ['HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.1 204 OK\r\n\r\n', false],
  ])('%j is the last of its connection: %s', (text, isLast) => {
    const { answers } = read(text + EMPTY)
    expect(answers[0]?.isLast).toBe(isLast)
    expect(answers).toHaveLength(isLast ? 1 : 2)
  })

  test.each([
    ['timeout=5', 5000],
    ['max=100, timeout=72', 72_000],
    ['timeout=x', null],
    ['no-timeout=5', null],
  ])('Keep-Alive: %s', (value, keptMs) => {
    expect(read(`HTTP/1.1 200 OK\r\nKeep-Alive: ${value}\r\nContent-Length: 0\r\n\r\n`).answers[0]?.keptMs).toBe(keptMs)
  })
})

describe('what is no answer is a fault, cut anywhere', () => {
  test.each([
    ['garbage', '\x16\x03\x01garbage'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['a status of 600', 'HTTP/1.1 600 OK\r\n\r\n'],
    ['an empty line in front', `\r\n${SIZED}`],
    ['a switch of protocols', 'HTTP/1.1 101 Switching\r\n\r\n'],
    ['a line without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n'],
    ['a name with a space', 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n'],
    ['a control character', 'HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na'],
    ['a length below zero', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ['a length with a sign', 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a coding nobody asked for', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['chunks in 1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a chunk of no size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n'],
    ['a chunk of a strange size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n'],
    ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n'],
    ['an endless chunk line', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(1100)}`],
  ])('%s', (_, text) => {
    for (const { answers, fault } of everyCut(text, false)) expect([answers, fault]).toEqual([[], 'ANSWER_MALFORMED'])
  })

  test.each([
    ['a head', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(3000)}`],
    ['a whole head', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(3000)}\r\n\r\n`],
    ['a body, by its own word', 'HTTP/1.1 200 OK\r\nContent-Length: 5001\r\n\r\n'],
    ['a body of chunks', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n${'x'.repeat(4095)}\r\nfff\r\n`],
    ['a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n'],
    ['a body without an end', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(6000)}`],
    ['trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(600)}`],
  ])('%s that is too large', (_, text) => {
    const bytes = Buffer.from(text)
    const single = Array.from({ length: bytes.length }, (_byte, at) => bytes.subarray(at, at + 1))
    for (const pieces of [[bytes], single]) expect(readPieces(pieces).fault).toBe('ANSWER_TOO_LARGE')
  })

  test('garbage is told at its first byte', () => {
    expect(read('<').fault).toBe('ANSWER_MALFORMED')
  })
})

test('nothing is read after who reads wants no more', () => {
  const answers: ParsedAnswer[] = []
  const parser = createAnswerParser({ ...LIMITS, onAnswer: answer => answers.push(answer) === 0 })
  expect(parser.push(Buffer.from(`${SIZED}garbage`))).toBeNull()
  expect(answers).toHaveLength(1)
})

test('any bytes, cut anyhow, are read the same, and never throw', () => {
  const fragment = fc.constantFrom(
    ...[
      'HTTP/1.1 ',
      '200',
      ' OK',
      '\r\n',
      '\r',
      '\n',
      'Content-Length: ',
      '3',
      'abc',
      '0',
      'Transfer-Encoding: chunked',
      ':',
    ],
    ...['Connection: close', ';', ' ', '100', '\r\n\r\n', SIZED, CHUNKED, EMPTY, UNTIL_END, '\0', 'é'],
  )
  const texts = fc.array(fragment, { maxLength: 30 }).map(parts => Buffer.from(parts.join('')))
  const bytes = fc.oneof(
    texts,
    fc.uint8Array({ maxLength: 200 }).map(each => Buffer.from(each)),
  )
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(400), { maxLength: 6 }), (data, cuts) => {
      const at = [0, ...cuts.map(cut => Math.min(cut, data.length)).sort((a, b) => a - b), data.length]
      const pieces = at.slice(1).map((end, index) => data.subarray(at[index], end))
      expect(readPieces(pieces, true)).toEqual(readPieces([data], true))
    }),
    { numRuns: 2000 },
  )
})
