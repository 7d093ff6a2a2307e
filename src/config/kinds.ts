import { formatDecimal, parseDecimal } from '../core/money.ts'
import { type ConfigFault, fault, showValue } from './faults.ts'
import { isNull, type Raw, type ScalarType, scalarType } from './raw.ts'

/** What a setting may hold: how it is read and checked, and the words for it. */
export interface Kind<T> {
  /** For the reference: `integer`, `text`, `list`, … */
  readonly type: string
  /** What is accepted, for the reference and for messages. */
  readonly allowed: string
  /** Whether the value must never be shown. */
  readonly isSecret: boolean
  /** The fields of each item, where it is a list of mappings. */
  readonly fields: readonly Field<unknown>[]
  /** The value, or undefined with at least one fault added. `setting` is the path for messages. */
  readonly read: (raw: Raw, setting: string, faults: ConfigFault[]) => T | undefined
}

/** One field of a list's items; `fallback` as it would be written, null when the field has to be there. */
export interface Field<T> {
  readonly name: string
  readonly kind: Kind<T>
  readonly fallback: string | null
  readonly description: string
}

/** A whole number, both bounds included. */
export function integer(min: number, max: number): Kind<number> {
  const allowed = `a whole number, ${min} to ${max}`
  return scalar('integer', allowed, ['number'], text => {
    if (!/^-?(?:0|[1-9][0-9]*)$/.test(text)) return undefined
    return inRange(Number(text), min, max)
  })
}

/** A number that may have places, both bounds included; for shares, never for money. */
export function fraction(min: number, max: number): Kind<number> {
  return scalar('number', `a number, ${min} to ${max}`, ['number'], text => {
    if (!/^-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$/.test(text)) return undefined
    return inRange(Number(text), min, max)
  })
}

function inRange(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined
}

export function boolean(): Kind<boolean> {
  return scalar('boolean', 'true or false', ['boolean'], text => {
    const lower = text.toLowerCase()
    return lower === 'true' ? true : lower === 'false' ? false : undefined
  })
}

/** One of a few words. */
export function choice<const Word extends string>(words: readonly Word[]): Kind<Word> {
  return scalar('choice', words.join(', '), ['text'], text => words.find(word => word === text))
}

/** A text; `accept` gives the value in its canonical form, or undefined. A secret is masked in every message. */
export function text(
  allowed: string,
  accept: (text: string) => string | undefined,
  isSecret: 'secret' | 'public' = 'public',
): Kind<string> {
  return scalar('text', allowed, ['text'], accept, isSecret === 'secret')
}

/**
 * An exact decimal, quoted or not: the source's own characters are read, never a float. No exponent. The value is the
 * canonical text; `accept` gets it in units of 10^-18.
 */
export function decimal(allowed: string, accept: (units: bigint) => boolean): Kind<string> {
  const words = `${allowed}; digits with at most 18 places, no exponent`
  return scalar('decimal', words, ['text', 'number'], source => {
    const units = parseDecimal(source, 18)
    return typeof units === 'bigint' && accept(units) ? formatDecimal(units, 18) : undefined
  })
}

/** A kind that may also be null: in YAML `null` or nothing, outside `null` or the empty text. */
export function nullable<T>(kind: Kind<T>): Kind<T | null> {
  const allowed = `${kind.allowed}, or null`
  const read: Kind<T | null>['read'] = (raw, setting, faults) => {
    if (isNull(raw)) return null
    const found: ConfigFault[] = []
    const value = kind.read(raw, setting, found)
    faults.push(...found.map(one => ({ ...one, allowed })))
    return value
  }
  return { ...kind, allowed, read }
}

function scalar<T>(
  type: string,
  allowed: string,
  types: readonly ScalarType[],
  convert: (text: string) => T | undefined,
  isSecret = false,
): Kind<T> {
  const read: Kind<T>['read'] = (raw, setting, faults) => {
    const problem = typeProblem(raw, types)
    const value = problem === null && raw.kind === 'scalar' ? convert(raw.text) : undefined
    if (value === undefined) {
      const details = { value: showValue(raw, isSecret), allowed }
      faults.push(fault(raw.at, setting, problem ?? 'not allowed', details))
    }
    return value
  }
  return { type, allowed, isSecret, fields: [], read }
}

/** Why a value is of the wrong type, null when it is not. Outside everything is text and converted. */
function typeProblem(raw: Raw, types: readonly ScalarType[]): string | null {
  if (raw.kind !== 'scalar') return 'wrong type'
  if (raw.style === 'outside') return null
  const type = scalarType(raw)
  if (types.includes(type)) return null
  if (type === 'null') return 'no value'
  if (raw.style === 'quoted') return 'wrong type, a text; write it without quotes'
  return types.includes('text') ? `wrong type, a ${type}; put it in quotes` : 'wrong type'
}
