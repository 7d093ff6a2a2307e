import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLineSplitter, MAX_LINE_BYTES, type PhysicalLine } from './lines.ts'

function split(pieces: readonly Buffer[]): readonly PhysicalLine[] {
  const splitter = createLineSplitter()
  return [...pieces.flatMap(piece => splitter.push(piece)), ...splitter.rest()]
}

/** The rule without streaming: what follows the last newline is a line unless it is empty. */
function oracle(bytes: Buffer): readonly PhysicalLine[] {
  const lines = bytes.toString('latin1').split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines.map(line => (line.length > MAX_LINE_BYTES ? null : line))
}

function inPieces(bytes: Buffer, size: number): readonly Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size))
}

describe('the line splitter', () => {
  test('cuts any bytes in any pieces as one split of the whole does', () => {
    const line = fc.oneof(
      { weight: 8, arbitrary: fc.uint8Array({ maxLength: 12 }).map(bytes => Buffer.from(bytes)) },
      { weight: 1, arbitrary: fc.integer({ min: -2, max: 2 }).map(n => Buffer.alloc(MAX_LINE_BYTES + n, 'x')) },
    )
    const text = fc
      .array(line, { maxLength: 6 })
      .map(lines => Buffer.concat(lines.flatMap(l => [l, Buffer.from('\n')])))
    const size = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 60_000, max: 200_000 }))
    fc.assert(
      fc.property(text, fc.uint8Array({ maxLength: 5 }), size, (whole, tail, pieceSize) => {
        const bytes = Buffer.concat([whole, tail])
        expect(split(inPieces(bytes, bytes.length > 1000 ? Math.max(pieceSize, 5000) : pieceSize))).toEqual(
          oracle(bytes),
        )
      }),
      { numRuns: 300 },
    )
  })

  test('drops a line that is too long, wherever the pieces end, and keeps its neighbours', () => {
    const bytes = Buffer.from(`a\n${'x'.repeat(3 * MAX_LINE_BYTES)}\nb\n${'y'.repeat(MAX_LINE_BYTES)}\nc`)
    for (const size of [1000, MAX_LINE_BYTES, bytes.length]) {
      expect(split(inPieces(bytes, size))).toEqual(['a', null, 'b', 'y'.repeat(MAX_LINE_BYTES), 'c'])
    }
  })

  test('reports a last line that is too long', () => {
    expect(split([Buffer.alloc(MAX_LINE_BYTES, 'x'), Buffer.from('x')])).toEqual([null])
  })
})
