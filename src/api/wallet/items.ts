/** Items of a call that stand alone: each is checked by itself, and refused by itself. */
import type { Static, TSchema } from 'typebox'
import type { CompileSchema } from '../app.ts'
import type { Problem } from '../contract.ts'
import { malformed } from '../faults.ts'
import type { RefusedItem } from './contract.ts'
import type { Read } from './reading.ts'

/** Checks an item as the server checks a request's parts. */
export type Check = <Schema extends TSchema>(schema: Schema, item: unknown) => Read<Static<Schema>>

export function checkWith(compile: CompileSchema): Check {
  return <Schema extends TSchema>(schema: Schema, item: unknown) => {
    const validate = compile(schema)
    if (validate(item) === true) return { value: item as Static<Schema> }
    return { problem: malformed(validate.errors ?? [], 'item') }
  }
}

const LONGEST_KEY = 128

export function refusedItem(item: unknown, problem: Problem): RefusedItem {
  const key: unknown = typeof item === 'object' && item !== null ? Reflect.get(item, 'key') : null
  return { key: typeof key === 'string' && key.length <= LONGEST_KEY ? key : null, status: 'refused', problem }
}
