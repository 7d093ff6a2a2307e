/** Items of a call that stand alone: each is checked by itself, and refused by itself. */
import type { FastifyRequest } from 'fastify'
import type { Static, TSchema } from 'typebox'
import type { Problem } from '../contract.ts'
import { malformed } from '../faults.ts'
import type { RefusedItem } from './contract.ts'
import type { Read } from './reading.ts'

/** Checks an item as the server checks a request's parts. */
export function checkItem<Schema extends TSchema>(
  request: FastifyRequest,
  schema: Schema,
  item: unknown,
): Read<Static<Schema>> {
  const validate = request.compileValidationSchema(schema)
  if (validate(item) === true) return { value: item as Static<Schema> }
  return { problem: malformed(validate.errors ?? [], 'item') }
}

const LONGEST_KEY = 128

export function refusedItem(item: unknown, problem: Problem): RefusedItem {
  const key: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, 'key') : null
  return { key: typeof key === 'string' && key.length <= LONGEST_KEY ? key : null, status: 'refused', problem }
}
