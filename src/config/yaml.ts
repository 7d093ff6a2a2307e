import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  Scalar,
  type YAMLError,
} from 'yaml'
import { type ConfigFault, fault, printable, showKey } from './faults.ts'
import type { Origin, Raw, RawEntry, RawScalar } from './raw.ts'

/** Syntax errors beyond the first few follow from the first. */
const MOST_SYNTAX_FAULTS = 10

/** What is being read: the source, the faults found so far, and how an offset becomes a line and a column. */
interface Reading {
  readonly at: (offset: number) => Origin
  readonly faults: ConfigFault[]
}

/**
 * Reads a YAML (or JSON) text as it was written; null when it is empty or at fault, with the faults added to the list.
 *
 * Every scalar stays text (the failsafe schema), since what it means is the setting's to say: a price must not pass
 * through a float. Anchors, aliases, tags and several documents are refused: a configuration needs none of them, and
 * aliases are how a small file becomes a huge one.
 *
 * @param setting the path of what the text holds; null for a whole configuration.
 */
export function parseYaml(
  text: string,
  origin: Pick<Origin, 'source' | 'name'>,
  setting: string | null,
  faults: ConfigFault[],
): Raw | null {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    schema: 'failsafe',
    // The parser compares every pair of keys, which takes minutes for a file of the largest size; readMapping does it.
    uniqueKeys: false,
    merge: false,
    prettyErrors: false,
    lineCounter: lines,
  })
  const at = (offset: number): Origin => {
    const { line, col } = lines.linePos(Math.min(offset, text.length))
    return { ...origin, line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  for (const error of document.errors.slice(0, MOST_SYNTAX_FAULTS)) {
    faults.push(fault(at(error.pos[0]), setting, `not valid YAML: ${syntaxProblem(error)}`))
  }
  if (document.errors.length > 0 || document.contents === null) return null
  return readNode(document.contents, setting, { at, faults })
}

/** The parser's words, without the piece of the source that some of them quote: it could be a secret. */
function syntaxProblem(error: YAMLError): string {
  return SYNTAX_PROBLEMS[error.code] ?? printable(error.message.replace(/: .*$/s, ''))
}

const SYNTAX_PROBLEMS: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE: 'invalid escape sequence in a quoted text',
  MULTIPLE_DOCS: 'more than one document',
  TAG_RESOLVE_FAILED: 'a tag that is not known',
  RESOURCE_EXHAUSTION: 'nested too deeply',
}

function readNode(node: Node, setting: string | null, reading: Reading): Raw | null {
  const at = reading.at(node.range?.[0] ?? 0)
  if (isAlias(node) || ('anchor' in node && node.anchor !== undefined)) {
    reading.faults.push(fault(at, setting, 'anchors and aliases are not accepted', { allowed: 'the value itself' }))
    return null
  }
  if (node.tag !== undefined) {
    reading.faults.push(fault(at, setting, 'tags are not accepted', { allowed: 'the value without a tag' }))
    return null
  }
  if (isScalar(node)) return readScalar(node, at)
  if (isMap(node)) return { kind: 'mapping', entries: readEntries(node.items as readonly Pair[], setting, reading), at }
  if (!isSeq(node)) return null
  const items: Raw[] = []
  for (const [index, item] of (node.items as readonly Node[]).entries()) {
    const raw = readNode(item, `${setting ?? ''}[${index}]`, reading)
    if (raw !== null) items.push(raw)
  }
  return { kind: 'list', items, at }
}

function readScalar(node: Scalar, at: Origin): RawScalar {
  const isPlain = node.type === Scalar.PLAIN || node.type === undefined
  return { kind: 'scalar', text: textOf(node), style: isPlain ? 'plain' : 'quoted', at }
}

/** In the failsafe schema a scalar is a text, or null where nothing was written. */
function textOf({ value }: Scalar): string {
  return typeof value === 'string' ? value : ''
}

function readEntries(pairs: readonly Pair[], setting: string | null, reading: Reading): readonly RawEntry[] {
  const entries = new Map<string, RawEntry>()
  for (const pair of pairs) {
    const key = pair.key as Node | null
    const keyAt = reading.at(key?.range?.[0] ?? 0)
    if (!isScalar(key) || key.tag !== undefined || key.anchor !== undefined) {
      reading.faults.push(fault(keyAt, setting, 'a key that is not a name'))
      continue
    }
    const name = textOf(key)
    const path = setting === null ? showKey(name) : `${setting}.${showKey(name)}`
    const first = entries.get(name)
    if (first !== undefined) {
      reading.faults.push(fault(keyAt, path, `given twice, first in line ${first.keyAt.line}`, { allowed: 'once' }))
      continue
    }
    const nothing: Raw = { kind: 'scalar', text: '', style: 'plain', at: keyAt }
    const value = pair.value === null ? nothing : readNode(pair.value as Node, path, reading)
    if (value !== null) entries.set(name, { key: name, keyAt, value })
  }
  return [...entries.values()]
}
