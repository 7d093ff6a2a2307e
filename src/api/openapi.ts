import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyContextConfig } from 'fastify'
import type { App } from './app.ts'

/** `GET /openapi.json`, made of the routes' own schemas, and the page at `/docs`. Registered before the routes. */
export async function describeApi(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Legwork',
        version,
        description:
          'Trades in, each settled leg by leg exactly once. Every amount is a decimal string, every time RFC 3339 UTC; ' +
          'errors are problems (RFC 9457) with a stable `code`.',
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: ({ schema, url, route }) => {
      const { describedBody, role, traders }: FastifyContextConfig = route.config ?? {}
      const body = describedBody === undefined ? {} : { body: describedBody }
      // Only on what needs a key.
      const access =
        role === undefined ? {} : { 'x-least-role': role, ...(traders !== undefined && { 'x-traders': traders }) }
      return { schema: { ...schema, ...body, ...access }, url }
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
