/**
 * The port to the keys that were made besides the first admin key, and to the log of who made and revoked them. A key
 * itself is never stored, only its SHA-256, by which it is found; a key that was revoked stays listed for ever.
 */
import type { AuditEntry, AuditQuery, Changed } from './operator-store.ts'

export type KeyRole = 'viewer' | 'trader' | 'operator' | 'admin'

/** What a key may do, and for whom. `userId`: the one user of a trader; null for all other roles. */
export interface KeyHolder {
  readonly id: string
  readonly role: KeyRole
  readonly userId: string | null
}

export interface StoredKey extends KeyHolder {
  readonly lastFour: string
  readonly createdAtMs: number
  readonly createdBy: string
  /** Null, like the next one, unless it was revoked. */
  readonly revokedAtMs: number | null
  readonly revokedBy: string | null
}

export interface NewKey extends KeyHolder {
  /** SHA-256 of the key, in hexadecimal digits. */
  readonly hash: string
  readonly lastFour: string
}

/** Who asks for a change, when and why; `id` is that of the entry in the audit log. */
export interface KeyChange {
  readonly id: string
  readonly atMs: number
  readonly actor: string
  readonly reason: string | null
}

/** One that makes a key may carry an idempotency key of the actor's, with all that was asked for as a text. */
export interface KeyCreation extends KeyChange {
  readonly idempotencyKey: string | null
  readonly content: string
}

/** Newest first. */
export interface KeyQuery {
  /** Empty: all. */
  readonly roles: readonly string[]
  /** Null: both. */
  readonly isRevoked: boolean | null
  readonly before: { readonly createdAtMs: number; readonly id: string } | null
  readonly limit: number
}

export interface AccessStore {
  /** Stores the key with its entry in the log. Answers with its id; replayed: with that of the key made the first time. */
  create(key: NewKey, creation: KeyCreation): Promise<Changed<string, never>>
  /** Again it changes nothing. Null: there is no key of this id; `hash`: of the key, so that it can be forgotten. */
  revoke(id: string, change: KeyChange): Promise<{ readonly key: StoredKey; readonly hash: string } | null>
  keys(query: KeyQuery): Promise<readonly StoredKey[]>
  /** One for each hash, in order; null: no key has it, or it was revoked. One statement, however many there are. */
  holdersOf(hashes: readonly string[]): Promise<readonly (KeyHolder | null)[]>
  auditLog(query: AuditQuery): Promise<readonly AuditEntry[]>
}
