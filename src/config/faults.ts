import { isNull, type Origin, type Raw, scalarType } from './raw.ts'

/** One thing that is wrong with the configuration. No field ever holds a secret. */
export interface ConfigFault {
  /** The YAML path (`settlement.poll_ms`, `markets[0].tick_size`), or null where the source as a whole can't be read. */
  readonly setting: string | null
  /** The value as it was written, shortened, `***` for a secret; null where there is none to show. */
  readonly value: string | null
  readonly problem: string
  /** What would be accepted, in words; null where the problem says it. */
  readonly allowed: string | null
  /** Where it was written: `config.yaml:3:9`, `environment variable LEGWORK_…`, `flag --port`, `default`. */
  readonly where: string
}

/**
 * The configuration can't be used. The message has a line for each fault, ready for a terminal; the command line ends with
 * exit status 4.
 */
export class ConfigError extends Error {
  readonly code = 'INVALID_CONFIGURATION'
  readonly faults: readonly ConfigFault[]

  constructor(faults: readonly ConfigFault[]) {
    super(faults.map(renderFault).join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

function renderFault(fault: ConfigFault): string {
  const setting = fault.setting === null ? '' : ` ${fault.setting}:`
  const value = fault.value === null ? '' : ` (got ${fault.value})`
  const allowed = fault.allowed === null ? '' : `; allowed: ${fault.allowed}`
  return `${fault.where}:${setting} ${fault.problem}${value}${allowed}`
}

export function fault(
  origin: Origin,
  setting: string | null,
  problem: string,
  details: { readonly value?: string; readonly allowed?: string } = {},
): ConfigFault {
  const { value = null, allowed = null } = details
  return { setting, value, problem, allowed, where: describeOrigin(origin) }
}

export function describeOrigin(origin: Origin): string {
  const { source, name, line, column } = origin
  switch (source) {
    case 'default':
      return 'default'
    case 'file':
      return line === null ? printable(name) : `${printable(name)}:${line}:${column}`
    case 'environment':
      return `environment variable ${printable(name)}${within(origin)}`
    case 'flag':
      return `flag ${printable(name)}${within(origin)}`
  }
}

function within({ line, column }: Origin): string {
  return line === null ? '' : ` (line ${line}, column ${column})`
}

const LONGEST_SHOWN = 80

/** A value for a message: a scalar as it was written, anything larger by its kind alone, a secret as `***`. */
export function showValue(raw: Raw, isSecret: boolean): string {
  if (raw.kind === 'list') return 'a list'
  if (raw.kind === 'mapping') return 'a mapping'
  if (isNull(raw)) return raw.text === '' ? 'nothing' : 'null'
  if (isSecret) return '***'
  const text = shorten(withoutPassword(raw.text))
  return scalarType(raw) === 'text' ? `"${printable(text)}"` : printable(text)
}

/** What kind of value it is, for messages that must not show it. */
export function showKind(raw: Raw): string {
  if (raw.kind !== 'scalar') return showValue(raw, true)
  return isNull(raw) ? 'nothing' : `a ${scalarType(raw)}`
}

/**
 * The part of a key that looks like a name. The rest is not shown: in `{token:hunter2}`, where the space after the
 * colon was forgotten, YAML takes the secret for a part of the key.
 */
export function showKey(key: string): string {
  const name = /^[A-Za-z0-9_.-]{0,40}/.exec(key)?.[0] ?? ''
  return name === key ? name : `${name}…`
}

/** The text with nothing in it that could move a terminal's cursor or hide from the reader. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, character => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

function shorten(text: string): string {
  return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN)}…`
}

// An address, also one in the wrong place such as a database's in server.host, may bring its password along.
function withoutPassword(text: string): string {
  return text.replace(/.*@/s, '***@').replace(/\?.*/s, '?***')
}
