/** What a key looks like, and what is kept of it. */
import { hash, randomBytes } from 'node:crypto'

/** A new key: 256 random bits. */
export function freshKey(): string {
  return `lw_${randomBytes(32).toString('base64url')}`
}

/** Whether a text could be one that `freshKey` made; the first admin key may be any text. */
export function isKeyText(text: string): boolean {
  return /^lw_[A-Za-z0-9_-]{43}$/.test(text)
}

/**
 * By which a key is kept and found: SHA-256, in hexadecimal digits. What is hashed can't be guessed, so a slow hash would
 * only make each request slow; and whoever times the look-up learns about the hash of a guess, of which no other follows.
 */
export function hashOfKey(key: string): string {
  return hash('sha256', key, 'hex')
}
