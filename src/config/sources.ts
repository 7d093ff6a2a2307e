import { closeSync, openSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import { type ConfigFault, fault, printable, showKind } from './faults.ts'
import { knownEntries } from './mappings.ts'
import { nearest } from './nearest.ts'
import { isBlank, type Origin, type Raw, type RawMapping } from './raw.ts'
import { ALL_SETTINGS, environmentName, type Setting } from './settings.ts'
import { parseYaml } from './yaml.ts'

/** What one source says, by the path of the setting. */
export type Layer = ReadonlyMap<string, Raw>

/** The variable that holds the first admin key; the one of `LEGWORK_…` that is not a setting. */
export const ADMIN_TOKEN = 'LEGWORK_ADMIN_TOKEN'

const DEFAULT_FILE = 'config.yaml'
const MAX_FILE_BYTES = 1024 * 1024
const PREFIX = 'LEGWORK_'

/** The lowest layer: the defaults of the table. */
export function defaultLayer(faults: ConfigFault[]): Layer {
  return textLayer(
    ALL_SETTINGS.map(setting => [setting, setting.fallback, { source: 'default', name: '' }]),
    faults,
  )
}

/** `--config`, or `config.yaml` in the current folder if there is one. */
export function fileLayer(path: string | null, cwd: string, faults: ConfigFault[]): Layer {
  const name = path ?? DEFAULT_FILE
  const origin = { source: 'file', name } as const
  const text = readText(resolve(cwd, name), origin, path !== null, faults)
  if (text === null) return new Map()
  const root = parseYaml(text, origin, null, faults)
  if (root === null || isBlank(root)) return new Map()
  if (root.kind === 'mapping') return layerOfDocument(root, faults)
  const details = { value: showKind(root), allowed: 'a mapping of settings' }
  faults.push(fault(root.at, null, 'wrong type', details))
  return new Map()
}

/** The file's text; null when there is none to read, which is a fault unless a missing file is no surprise. */
export function readText(
  file: string,
  origin: Pick<Origin, 'source' | 'name'>,
  isRequired: boolean,
  faults: ConfigFault[],
): string | null {
  const at: Origin = { ...origin, line: null, column: null }
  try {
    const bytes = readAtMost(file, MAX_FILE_BYTES + 1)
    if (bytes.length <= MAX_FILE_BYTES) return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    faults.push(fault(at, null, 'the file is too large', { allowed: `at most ${MAX_FILE_BYTES} bytes` }))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    if (code === 'ENOENT' && !isRequired) return null
    faults.push(fault(at, null, READ_PROBLEMS[code] ?? `the file can't be read: ${code}`))
  }
  return null
}

const READ_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'this is a folder, not a file',
  EACCES: 'no permission to read the file',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'the file is not UTF-8 text',
}

// Not by the size that the file system names, since a pipe (`--config <(…)`) has none.
function readAtMost(file: string, most: number): Uint8Array {
  const buffer = new Uint8Array(most)
  const descriptor = openSync(file, 'r')
  try {
    let length = 0
    while (length < most) {
      const count = readSync(descriptor, buffer, length, most - length, null)
      if (count === 0) break
      length += count
    }
    return buffer.subarray(0, length)
  } finally {
    closeSync(descriptor)
  }
}

/** Flattens a document into its settings; what is not known is a fault. */
function layerOfDocument(root: RawMapping, faults: ConfigFault[]): Layer {
  const layer = new Map<string, Raw>()
  const paths = ALL_SETTINGS.map(setting => setting.path)
  const tops = [...new Set(paths.map(path => path.split('.')[0] ?? path))]
  for (const [top, raw] of knownEntries(root.entries, tops, null, faults, paths)) {
    const names = paths.filter(path => path.startsWith(`${top}.`)).map(path => path.slice(top.length + 1))
    if (names.length === 0) layer.set(top, raw)
    else if (raw.kind === 'mapping') {
      const entries = knownEntries(raw.entries, names, top, faults, paths)
      for (const [name, value] of entries) layer.set(`${top}.${name}`, value)
    } else if (!isBlank(raw)) {
      const details = { value: showKind(raw), allowed: `a mapping of ${names.join(', ')}` }
      faults.push(fault(raw.at, top, 'wrong type', details))
    }
  }
  return layer
}

/** The variables that are settings; one of `LEGWORK_…` that is not known becomes a warning, which never shows its value. */
export function environmentLayer(
  env: Readonly<Record<string, string | undefined>>,
  faults: ConfigFault[],
  warnings: string[],
): Layer {
  const byName = new Map(ALL_SETTINGS.map(setting => [environmentName(setting.path), setting]))
  const given: GivenText[] = []
  for (const name of Object.keys(env).sort()) {
    const value = env[name]
    if (value === undefined || !name.startsWith(PREFIX) || name === ADMIN_TOKEN) continue
    const setting = byName.get(name)
    if (setting !== undefined) given.push([setting, value, { source: 'environment', name }])
    else {
      const near = nearest(name, [...byName.keys(), ADMIN_TOKEN])
      warnings.push(`environment variable ${printable(name)} is not known and has no effect; the nearest is ${near}`)
    }
  }
  return textLayer(given, faults)
}

/** The settings given on the command line, by path. */
export function flagLayer(flags: Readonly<Record<string, string>>, faults: ConfigFault[]): Layer {
  const byPath = new Map(ALL_SETTINGS.map(setting => [setting.path, setting]))
  const given: GivenText[] = []
  for (const [path, value] of Object.entries(flags)) {
    const setting = byPath.get(path)
    const origin = { source: 'flag', name: setting?.flag ?? path } as const
    if (setting !== undefined) given.push([setting, value, origin])
    else {
      const near = nearest(path, [...byPath.keys()])
      const problem = `not a known setting; the nearest known name is ${near}`
      faults.push(fault({ ...origin, line: null, column: null }, printable(path), problem))
    }
  }
  return textLayer(given, faults)
}

type GivenText = readonly [Setting<unknown>, text: string, origin: Pick<Origin, 'source' | 'name'>]

/** A text per setting: that of a list is YAML (or JSON), any other is converted by the setting's kind. */
function textLayer(given: readonly GivenText[], faults: ConfigFault[]): Layer {
  const layer = new Map<string, Raw>()
  for (const [{ path, kind }, text, origin] of given) {
    const at: Origin = { ...origin, line: null, column: null }
    const outside: Raw = { kind: 'scalar', text, style: 'outside', at }
    const before = faults.length
    const raw = kind.type === 'list' ? parseYaml(text, origin, path, faults) : outside
    // An empty text is no list: left as it is, it is refused with the others.
    if (raw !== null || faults.length === before) layer.set(path, raw ?? outside)
  }
  return layer
}
