import type { FastifySchemaValidationError } from 'fastify'
import type { Fault, Problem } from './contract.ts'
import { type ProblemCode, problemOf } from './problem.ts'

/** The most faults one answer names. */
const MAX_FAULTS = 10_000

/** What a schema may say about its own faults (contract.ts: `x-code`, `x-missing-code`, `title`). */
interface SaidBySchema {
  readonly title?: string
  readonly 'x-code'?: ProblemCode
  readonly 'x-missing-code'?: ProblemCode
  readonly properties?: Readonly<Record<string, SaidBySchema>>
}

type SchemaError = FastifySchemaValidationError & { readonly parentSchema?: SaidBySchema }

/** The problem of a request that does not have the form its schema asks for, with a JSON pointer to each fault. */
export function malformed(errors: readonly FastifySchemaValidationError[], part = 'body'): Problem {
  return problemOfFaults(firstOfEach(errors.slice(0, MAX_FAULTS).map(faultOf)), part)
}

/** One problem of all that is wrong with a request. */
export function problemOfFaults(faults: readonly Fault[], part = 'body'): Problem {
  const codes = new Set(faults.map(fault => fault.code ?? 'INVALID_REQUEST'))
  const [only] = codes
  const code = codes.size === 1 && only !== undefined ? (only as ProblemCode) : 'INVALID_REQUEST'
  const [first] = faults
  const more = faults.length === 1 ? '' : `, and ${faults.length - 1} more`
  const where = first?.pointer === '' ? `the ${part}` : first?.pointer
  return problemOf(code, `${where} ${first?.detail ?? 'is malformed'}${more}`, { errors: faults })
}

/** One fault that no schema can tell. */
export function invalid(pointer: string, detail: string, code: ProblemCode = 'INVALID_REQUEST'): Problem {
  const fault: Fault = code === 'INVALID_REQUEST' ? { pointer, detail } : { pointer, detail, code }
  return problemOf(code, pointer === '' ? detail : `${pointer} ${detail}`, { errors: [fault] })
}

/** What is wrong in two ways is one fault. */
function firstOfEach(faults: readonly Fault[]): readonly Fault[] {
  const pointers = new Set<string>()
  return faults.filter(({ pointer }) => !pointers.has(pointer) && pointers.add(pointer))
}

function faultOf({ keyword, instancePath, params, message, parentSchema }: SchemaError): Fault {
  const fault = (pointer: string, detail: string, code = parentSchema?.['x-code']): Fault =>
    code === undefined ? { pointer, detail } : { pointer, detail, code }
  switch (keyword) {
    case 'required': {
      const field = String(params['missingProperty'])
      const missing = parentSchema?.properties?.[field]?.['x-missing-code']
      return fault(`${instancePath}/${escaped(field)}`, 'is missing', missing)
    }
    case 'additionalProperties':
      return fault(`${instancePath}/${escaped(String(params['additionalProperty']))}`, 'is not a known field')
    case 'type':
      return fault(instancePath, `must be of type ${String(params['type'])}`)
    case 'enum':
      return fault(instancePath, `must be one of ${(params['allowedValues'] as readonly string[]).join(', ')}`)
    case 'pattern':
    case 'format':
      return fault(instancePath, `must be ${parentSchema?.title ?? 'of another form'}`)
    default:
      return fault(instancePath, message ?? 'is malformed')
  }
}

/** A field's name as a part of a JSON pointer (RFC 6901). */
function escaped(name: string): string {
  return name.slice(0, 200).replaceAll('~', '~0').replaceAll('/', '~1')
}
