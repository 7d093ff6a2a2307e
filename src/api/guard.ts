import type { App } from './app.ts'
import { type Authenticate, eitherOf, keyOf, requireRole } from './auth.ts'
import type { KeyServices } from './keys/plugin.ts'

interface KeysOfServer {
  readonly authenticate: Authenticate
  readonly keys?: KeyServices | string
}

export function allKeysOf({ authenticate, keys }: KeysOfServer): Authenticate {
  return typeof keys === 'object' ? eitherOf(authenticate, keys.holders.authenticate) : authenticate
}

/** Every route of a scope asks for a key, and says who may call it (`accessOf`): one that does not is a mistake, found at the start. */
export function guardRoutes(scope: App, options: KeysOfServer): void {
  const { keys } = options
  const all = allKeysOf(options)
  // Where too many are being looked up to say, it is asked again later.
  scope.decorate('isStillGood', async ({ headers }) => (await all(keyOf(headers.authorization) ?? '')) !== null)
  scope.addHook('onRequest', requireRole(all, typeof keys === 'string' ? keys : null))
  scope.addHook('onRoute', ({ method, url, config }) => {
    if (config?.role === undefined) throw new Error(`${String(method)} ${url} does not say which role it needs`)
    for (const each of [method].flat()) scope.accessOf.set(`${each} ${url}`, config)
  })
}
