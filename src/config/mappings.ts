import { type ConfigFault, fault, showKey, showKind } from './faults.ts'
import type { Field, Kind } from './kinds.ts'
import { nearest } from './nearest.ts'
import type { Origin, Raw, RawEntry } from './raw.ts'

/** A list of at most so many. Every item is checked, also after one at fault. */
export function list<T>(item: Kind<T>, most: number): Kind<readonly T[]> {
  const allowed = `a list of at most ${most}: ${item.allowed}`
  const read: Kind<readonly T[]>['read'] = (raw, setting, faults) => {
    if (raw.kind !== 'list') {
      faults.push(fault(raw.at, setting, 'wrong type', { value: showKind(raw), allowed }))
      return undefined
    }
    if (raw.items.length > most) {
      faults.push(fault(raw.at, setting, 'too many', { value: `${raw.items.length} items`, allowed }))
      return undefined
    }
    const items = raw.items.map((entry, index) => item.read(entry, `${setting}[${index}]`, faults))
    const sound = items.filter(value => value !== undefined)
    return sound.length === items.length ? sound : undefined
  }
  return { type: 'list', allowed, isSecret: false, fields: item.fields, read }
}

/** A mapping with the named fields and no others; the value has them under the same names as `T`. */
export function mapping<T extends object>(fields: { readonly [Name in keyof T]: Field<T[Name]> }): Kind<T> {
  const rows: readonly (readonly [string, Field<unknown>])[] = Object.entries<Field<unknown>>(fields)
  const names = rows.map(([, row]) => row.name)
  const allowed = `a mapping of ${names.join(', ')}`
  const read: Kind<T>['read'] = (raw, setting, faults) => {
    if (raw.kind !== 'mapping') {
      faults.push(fault(raw.at, setting, 'wrong type', { value: showKind(raw), allowed }))
      return undefined
    }
    const entries = knownEntries(raw.entries, names, setting, faults)
    const values = rows.map(([name, row]) => {
      return [name, readField(row, entries.get(row.name), raw, setting, faults)] as const
    })
    // The rows are exactly T's fields, which is what the parameter's type says; entries alone can't carry it.
    return values.some(([, value]) => value === undefined) ? undefined : (Object.fromEntries(values) as T)
  }
  return { type: 'mapping', allowed, isSecret: false, fields: rows.map(([, row]) => row), read }
}

function readField(
  field: Field<unknown>,
  given: Raw | undefined,
  owner: Raw,
  setting: string,
  faults: ConfigFault[],
): unknown {
  const path = `${setting}.${field.name}`
  if (given !== undefined) return field.kind.read(given, path, faults)
  if (field.fallback !== null) return field.kind.read(fallbackOf(field.fallback), path, faults)
  faults.push(fault(owner.at, path, 'missing', { allowed: field.kind.allowed }))
  return undefined
}

/** A default of the table as a value; it is checked like any other. */
function fallbackOf(text: string): Raw {
  const at: Origin = { source: 'default', name: '', line: null, column: null }
  return { kind: 'scalar', text, style: 'outside', at }
}

/**
 * The entries whose keys are known, by key; each other is a fault that names the nearest known name.
 *
 * @param elsewhere full paths of the settings in other places: `poll_ms` at the top means `settlement.poll_ms`.
 */
export function knownEntries(
  entries: readonly RawEntry[],
  names: readonly string[],
  setting: string | null,
  faults: ConfigFault[],
  elsewhere: readonly string[] = [],
): ReadonlyMap<string, Raw> {
  const known = new Map<string, Raw>()
  for (const { key, keyAt, value } of entries) {
    if (names.includes(key)) known.set(key, value)
    else faults.push(unknownKey(key, keyAt, names, setting, elsewhere))
  }
  return known
}

function unknownKey(
  key: string,
  keyAt: Origin,
  names: readonly string[],
  setting: string | null,
  elsewhere: readonly string[],
): ConfigFault {
  const prefix = setting === null ? '' : `${setting}.`
  const paths = [...names.map(name => `${prefix}${name}`), ...elsewhere]
  const [name = '', glued] = key.split(':', 2)
  const near = nearest(name, paths, path => path.slice(path.lastIndexOf('.') + 1))
  const hint = glued === undefined ? '' : '; a space is missing after a colon'
  return fault(keyAt, `${prefix}${showKey(key)}`, `not a known setting; the nearest known name is ${near}${hint}`)
}
