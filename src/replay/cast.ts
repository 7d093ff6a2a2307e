import { hash } from 'node:crypto'

/** The users of a replay, and who of them trades on which line. */
export interface Cast {
  /** UUIDs; user `n` of a seed is the same one in every market and for any number of users. */
  readonly userIds: readonly string[]
  /** The two sides of the trade on a line (a safe integer from 0), always different users. */
  readonly sidesOf: (line: number) => { readonly buyerUserId: string; readonly sellerUserId: string }
}

/**
 * Makes the cast of a market. Who trades on a line follows from seed, market, number of users and line alone, not from
 * a running generator, so that a replay that goes on in the middle of a file casts as one that never stopped.
 *
 * `seed`: a safe integer. `users`: at least 2. Throws `RangeError` otherwise.
 */
export function createCast(options: { readonly seed: number; readonly users: number; readonly market: string }): Cast {
  const { seed, users, market } = options
  if (!Number.isSafeInteger(seed)) throw new RangeError(`the seed must be a safe integer, not ${seed}`)
  if (!Number.isSafeInteger(users) || users < 2) throw new RangeError(`a trade needs at least 2 users, not ${users}`)
  const userIds = Array.from({ length: users }, (_, index) => uuidOf(`legwork replay user\n${seed}\n${index}`))
  const key = Number.parseInt(hash('sha256', `legwork replay cast\n${seed}\n${market}`).slice(0, 8), 16)

  const sidesOf = (line: number): { readonly buyerUserId: string; readonly sellerUserId: string } => {
    const low = mixed(key ^ line)
    const mixedLine = mixed(low ^ Math.floor(line / 2 ** 32))
    const buyer = below(users, mixedLine)
    // One of the others: those from the buyer on move up by one.
    const other = below(users - 1, mixed(mixedLine ^ 0x9e3779b9))
    const seller = other < buyer ? other : other + 1
    return { buyerUserId: userAt(userIds, buyer), sellerUserId: userAt(userIds, seller) }
  }

  return { userIds, sidesOf }
}

/**
 * The id of the trade on a line of a file: a UUID that follows from its arguments alone, so that a replay that is run
 * again hands in the same trades. `fingerprint` is the survey's.
 */
export function tradeId(seed: number, symbol: string, fingerprint: string, line: number): string {
  return uuidOf(`legwork replay trade\n${seed}\n${symbol}\n${fingerprint}\n${line}`)
}

/** The key of the deposit that funds a user of a replay, so that a replay that is run again deposits nothing again. */
export function depositKey(
  seed: number,
  fingerprint: string,
  userId: string,
  currency: string,
  amount: bigint,
): string {
  return `replay:${uuidOf(`legwork replay deposit\n${seed}\n${fingerprint}\n${userId}\n${currency}\n${amount}`)}`
}

/** The first 128 bits of a text's SHA-256 as a UUID of version 8, the one for ids made by a rule of one's own (RFC 9562). */
function uuidOf(text: string): string {
  const hex = hash('sha256', text)
  const variant = '89ab'.charAt(Number.parseInt(hex.charAt(16), 16) & 3)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** Spreads 32 bits so that neighbouring lines have nothing in common: the finalizer of MurmurHash3. Unsigned. */
function mixed(bits: number): number {
  let mix = bits
  mix = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b)
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35)
  return (mix ^ (mix >>> 16)) >>> 0
}

/** An integer from 0 to limit − 1 out of 32 random bits. */
function below(limit: number, bits: number): number {
  return Math.floor((bits / 2 ** 32) * limit)
}

function userAt(userIds: readonly string[], index: number): string {
  const userId = userIds[index]
  if (userId === undefined) throw new RangeError(`there is no user ${index} of ${userIds.length}`)
  return userId
}
