import type { StoredKey } from '../../store/access-store.ts'
import { formatInstant } from '../instant.ts'
import type { KeyView } from './contract.ts'

export function viewKey(key: StoredKey): KeyView {
  return {
    id: key.id,
    role: key.role,
    user_id: key.userId,
    last_four: key.lastFour,
    status: key.revokedAtMs === null ? 'active' : 'revoked',
    created_at: formatInstant(key.createdAtMs),
    created_by: key.createdBy,
    revoked_at: key.revokedAtMs === null ? null : formatInstant(key.revokedAtMs),
    revoked_by: key.revokedBy,
  }
}
