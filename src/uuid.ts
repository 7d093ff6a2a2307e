import { randomFillSync } from 'node:crypto'

/** A new UUID of version 7 (RFC 9562): ids made later sort later, to the millisecond. */
export function uuidV7(nowMs: number): string {
  return uuidOf(nowMs, bytes => bytes.writeUInt8(0x70 | (bytes.readUInt8(6) & 0x0f), 6))
}

/** The UUID so many behind another, by its last 48 bits. */
export function uuidAfter(first: string, count: number): string {
  const last = Number.parseInt(first.slice(24), 16) + count
  if (last > 0xffff_ffff_ffff) throw new RangeError(`there is no UUID ${count} behind ${first}`)
  return first.slice(0, 24) + last.toString(16).padStart(12, '0')
}

function uuidOf(ms: number, setVersion: (bytes: Buffer) => void): string {
  const bytes = randomSixteen()
  bytes.writeUIntBE(ms, 0, 6)
  setVersion(bytes)
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Asked for one by one, random bytes cost several times what all else here does. */
const POOL = Buffer.alloc(16 * 256)
let used = POOL.length

function randomSixteen(): Buffer {
  if (used === POOL.length) {
    randomFillSync(POOL)
    used = 0
  }
  used += 16
  return POOL.subarray(used - 16, used)
}

/**
 * Makes UUIDs of version 7 that sort in the order in which they were made, also within a millisecond: its 12 bits behind
 * the time count there (RFC 9562, 6.2, method 1), and borrow from the next millisecond when they are used up.
 */
export function createUuidV7Source(clock: { now(): number }): () => string {
  let lastMs = 0
  let count = 0
  return () => {
    const nowMs = clock.now()
    if (nowMs > lastMs) {
      lastMs = nowMs
      count = 0
    } else if (++count === 0x1000) {
      lastMs++
      count = 0
    }
    return uuidOf(lastMs, bytes => bytes.writeUInt16BE(0x7000 | count, 6))
  }
}
