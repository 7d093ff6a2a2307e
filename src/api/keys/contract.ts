/** The contract of keys (../contract.ts says how schemas are read). */
import { type Static, Type } from 'typebox'
import { Reason } from '../admin/contract.ts'
import { CLOSED, Cursor, Limit, listOf, NextCursor, orNull, Uuid } from '../contract.ts'

const ROLES = ['viewer', 'trader', 'operator', 'admin'] as const
const INSTANT = Type.String({ format: 'date-time' })

export const NewKeyBody = Type.Object(
  {
    role: Type.Enum([...ROLES]),
    user_id: Type.Optional({ ...Uuid, description: 'The one user of a trader; no other role has one.' }),
    reason: Type.Optional(Reason),
  },
  CLOSED,
)

export const KeyMade = Type.Object({
  key: Type.String({ description: 'Shown this once: only a hash of it is kept.' }),
  id: Type.String(),
})
export const KeyMadeBefore = Type.Object({
  key: Type.Null({ description: 'It was shown the first time. Where it is lost, revoke it and make another.' }),
  id: Type.String(),
})

export const KeysQuery = Type.Object(
  {
    role: listOf(`(?:${ROLES.join('|')})`, 'viewer, trader, operator or admin, several separated by commas'),
    status: listOf('(?:active|revoked)', 'active or revoked, or both separated by a comma'),
    limit: Limit,
    cursor: Cursor,
  },
  CLOSED,
)

export const KeyView = Type.Object({
  id: Type.String(),
  role: Type.Enum([...ROLES]),
  user_id: orNull(Type.String()),
  last_four: Type.String({ description: 'Characters, by which to tell it from others.' }),
  status: Type.Enum(['active', 'revoked']),
  created_at: INSTANT,
  created_by: Type.String(),
  revoked_at: orNull(INSTANT),
  revoked_by: orNull(Type.String()),
})
export type KeyView = Static<typeof KeyView>

export const KeyAnswer = Type.Object({ key: KeyView })
export const KeysPage = Type.Object({ keys: Type.Array(KeyView), next_cursor: NextCursor })
