/** Where a value was written. `line` and `column` count from 1 and are null where the source has none. */
export interface Origin {
  readonly source: 'default' | 'file' | 'environment' | 'flag'
  /** The file's path as it was named, the variable or the flag; empty for a default. */
  readonly name: string
  readonly line: number | null
  readonly column: number | null
}

/** A value as it was written, before anyone asked what it should be. */
export type Raw = RawScalar | RawList | RawMapping

export interface RawScalar {
  readonly kind: 'scalar'
  /** The very characters of the source (escapes of a quoted text resolved), so that 0.010 never becomes a float. */
  readonly text: string
  /** `outside`: from the environment or a flag, where everything is text and the setting decides what it means. */
  readonly style: 'plain' | 'quoted' | 'outside'
  readonly at: Origin
}

interface RawList {
  readonly kind: 'list'
  readonly items: readonly Raw[]
  readonly at: Origin
}

export interface RawMapping {
  readonly kind: 'mapping'
  /** Keys are unique. */
  readonly entries: readonly RawEntry[]
  readonly at: Origin
}

export interface RawEntry {
  readonly key: string
  readonly keyAt: Origin
  readonly value: Raw
}

/** What YAML 1.2 takes a scalar for. Everything from outside is `text`. */
export type ScalarType = 'null' | 'boolean' | 'number' | 'text'

const NULL = /^(?:~|null|Null|NULL|)$/
const BOOLEAN = /^(?:true|True|TRUE|false|False|FALSE)$/
const NUMBER =
  /^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/

export function scalarType(raw: RawScalar): ScalarType {
  if (raw.style !== 'plain') return 'text'
  if (NULL.test(raw.text)) return 'null'
  if (BOOLEAN.test(raw.text)) return 'boolean'
  return NUMBER.test(raw.text) ? 'number' : 'text'
}

/** Whether the value says "nothing": YAML's null, or outside also the empty text. */
export function isNull(raw: Raw): boolean {
  if (raw.kind !== 'scalar') return false
  return raw.style === 'outside' ? raw.text === '' || raw.text === 'null' : scalarType(raw) === 'null'
}

/** Whether a mapping was left empty, as when all its lines are commented out. */
export function isBlank(raw: Raw): boolean {
  return raw.kind === 'scalar' && raw.style === 'plain' && isNull(raw)
}
