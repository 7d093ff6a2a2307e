import type { Clock } from '../../clock.ts'
import type { AccessStore } from '../../store/access-store.ts'
import type { App } from '../app.ts'
import { problemOf, refuse } from '../problem.ts'
import { createKeyHolders, type KeyHolders } from './key-holders.ts'
import { keyCreateRoute } from './routes/key-create.ts'
import { keyRevokeRoute } from './routes/key-revoke.ts'
import { keysListRoute } from './routes/keys-list.ts'

/** Keys besides the first admin key: where they are kept, and who they belong to. */
export interface KeyServices {
  readonly store: AccessStore
  readonly holders: KeyHolders
  readonly clock: Clock
}

export function createKeyServices(store: AccessStore, clock: Clock): KeyServices {
  return { store, clock, holders: createKeyHolders({ store, clock }) }
}

/** `/v1/admin/keys…`, for admins alone; `app` asks for the key. */
export function keyRoutes(app: App, services: KeyServices): void {
  keyCreateRoute(app, services)
  keysListRoute(app, services)
  keyRevokeRoute(app, services)
}

/** In their place where there can be none: whoever asks is told why. */
export function noKeyRoutes(app: App, why: string): void {
  for (const url of ['/v1/admin/keys', '/v1/admin/keys/*']) {
    app.all(url, { schema: { hide: true }, config: { role: 'admin' } }, (_request, reply) =>
      refuse(reply, problemOf('NOT_FOUND', why)),
    )
  }
}
