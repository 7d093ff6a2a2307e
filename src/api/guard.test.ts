import Fastify from 'fastify'
import { expect, test } from 'vitest'
import type { App } from './app.ts'
import type { Found } from './auth.ts'
import { guardRoutes } from './guard.ts'

function guarded(found: Found, routes: (scope: App) => void): App {
  const app: App = Fastify()
  app.decorate('accessOf', new Map())
  void app.register(async scope => {
    guardRoutes(scope, { authenticate: () => found })
    routes(scope)
  })
  return app
}

test('a route that does not say which role it needs keeps the server from starting, however deep it is', async () => {
  const forgetful = guarded(null, scope => {
    scope.get('/fine', { config: { role: 'viewer' } }, async () => '')
    void scope.register(async inner => {
      inner.post('/secrets', async () => 'everything')
    })
  })
  await expect(forgetful.ready()).rejects.toThrow('POST /secrets does not say which role it needs')
  const careful = guarded(null, scope => scope.get('/fine', { config: { role: 'viewer' } }, async () => ''))
  await careful.ready()
  expect(careful.accessOf.get('GET /fine')).toMatchObject({ role: 'viewer' })
  await careful.close()
})

test('who can’t be told apart from the many that ask is to come again, and has not been refused', async () => {
  const app = guarded('busy', scope => scope.get('/', { config: { role: 'viewer' } }, async () => ''))
  const answer = await app.inject({ url: '/', headers: { authorization: 'Bearer x' } })
  expect([answer.statusCode, answer.headers['retry-after'], answer.json().code]).toEqual([429, '1', 'RATE_LIMITED'])
  await app.close()
})
