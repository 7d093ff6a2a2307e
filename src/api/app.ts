import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifySchemaValidationError,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { TSchema } from 'typebox'
import type { Principal, RouteAccess } from './auth.ts'

/** The server as routes see it: requests and answers have the types of their schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** Made once for each schema. `errors`: of the last value that was refused. */
export type CompileSchema = (schema: TSchema) => {
  (value: unknown): unknown
  errors?: readonly FastifySchemaValidationError[] | null
}

declare module 'fastify' {
  interface FastifyContextConfig extends RouteAccess {
    /** Shown in the API's description instead of the body's own schema, where items are judged one by one. */
    describedBody?: TSchema
  }
  interface FastifyInstance {
    /** Who may call each route that needs a key, by method and URL (`GET /v1/trades`); once the server is ready. */
    accessOf: Map<string, RouteAccess>
    /** The validator that the routes' bodies are checked by, of any schema; once the server is ready. */
    compileSchema: CompileSchema
    /** Whether the key of a request that has been under way for long is still good. */
    isStillGood: (request: FastifyRequest) => Promise<boolean>
  }
  interface FastifyRequest {
    /** Who calls; set on all routes that need a key. */
    principal: Principal
  }
}
