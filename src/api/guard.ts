import type { App } from './app.ts'
import { type Authenticate, eitherOf, keyOf, requireRole } from './auth.ts'
import type { KeyServices } from './keys/plugin.ts'

/** Every route of a scope asks for a key, and says who may call it: one that does not is a mistake, found at the start. */
export function guardRoutes(
  scope: App,
  { authenticate, keys }: { readonly authenticate: Authenticate; readonly keys?: KeyServices | string },
): void {
  const isKept = typeof keys === 'object'
  const all = isKept ? eitherOf(authenticate, keys.holders.authenticate) : authenticate
  // Where too many are being looked up to say, it is asked again later.
  scope.decorate('isStillGood', async ({ headers }) => (await all(keyOf(headers.authorization) ?? '')) !== null)
  scope.addHook('onRequest', requireRole(all, isKept ? null : (keys ?? null)))
  scope.addHook('onRoute', ({ method, url, config }) => {
    if (config?.role === undefined) throw new Error(`${String(method)} ${url} does not say which role it needs`)
  })
}
