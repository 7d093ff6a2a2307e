/** Reads a script of wallet faults (docs/faults.md) as the configuration is read: whole, with the place of every fault. */
import { resolve } from 'node:path'
import { parse } from 'yaml'
import { ConfigError, type ConfigFault, fault, showKind, showValue } from '../config/faults.ts'
import { choice, type Field, fraction, integer, type Kind, nullable, text } from '../config/kinds.ts'
import { list, mapping } from '../config/mappings.ts'
import type { Origin } from '../config/raw.ts'
import { readText } from '../config/sources.ts'
import { parseYaml } from '../config/yaml.ts'
import { parseUuid } from '../core/ids.ts'
import {
  CALLS,
  type CallKind,
  type FaultAction,
  type FaultMatch,
  type FaultRule,
  GARBAGE,
  type Garbage,
  LEGS,
  type LegName,
  type Moment,
  type Range,
  type When,
} from '../wallet/faults/rules.ts'

const MOST_RULES = 1000
const MOST_MS = 3_600_000
const MOST_CALLS = 1_000_000_000

/** A script, and its rules as they were written. */
export interface FaultScriptFile {
  readonly rules: readonly FaultRule[]
  readonly source: readonly unknown[]
}

/** Reads the file that `--faults` names, against `cwd`. Throws `ConfigError`. */
export function readFaultFile(path: string, cwd: string): FaultScriptFile {
  const faults: ConfigFault[] = []
  const origin = { source: 'file', name: path } as const
  const source = readText(resolve(cwd, path), origin, true, faults)
  if (source === null) throw new ConfigError(faults)
  const rules = readFaultRules(source, origin)
  const document: { readonly rules: readonly unknown[] } = parse(source)
  return { rules, source: document.rules }
}

/** Reads a script from its text. Throws `ConfigError` with every fault at once. */
export function readFaultRules(source: string, origin: Pick<Origin, 'source' | 'name'>): readonly FaultRule[] {
  const faults: ConfigFault[] = []
  const raw = parseYaml(source, origin, null, faults)
  const start: Origin = { ...origin, line: null, column: null }
  if (raw === null && faults.length === 0) faults.push(fault(start, null, 'empty', { allowed: SCRIPT.allowed }))
  const script = raw === null ? undefined : SCRIPT.read(raw, 'faults', faults)
  if (script === undefined || faults.length > 0) throw new ConfigError(faults)
  return script.rules
}

const WHENS = ['before', 'after', 'within'] as const

interface RuleFields {
  readonly call: readonly CallKind[] | null
  readonly tradeId: string | null
  readonly leg: readonly LegName[] | null
  readonly key: string | null
  readonly attempt: readonly Range[] | null
  readonly percent: number | null
  readonly seed: number
  readonly from: Moment | null
  readonly until: Moment | null
  readonly times: number | null
  readonly fault: FaultAction['fault']
  readonly code: string | null
  readonly status: number | null
  readonly when: When | 'within' | null
  readonly body: 'problem' | 'html' | 'none' | null
  readonly what: Garbage | null
  readonly ms: number | null
  readonly seconds: number | null
  readonly as: 'seconds' | 'date' | 'nonsense' | null
  readonly after: 'reversal' | null
  readonly answer: 'none' | 'cut' | 'gateway_timeout' | null
}

type Parameter = 'code' | 'status' | 'when' | 'body' | 'what' | 'ms' | 'seconds' | 'as' | 'after' | 'answer'

/** What each fault can be told, and has to be. */
const PARAMETERS: Readonly<
  Record<FaultAction['fault'], { readonly may: readonly Parameter[]; readonly must: readonly Parameter[] }>
> = {
  refuse: { may: ['code'], must: ['code'] },
  status: { may: ['status', 'when', 'body', 'code'], must: ['status'] },
  no_answer: { may: ['when'], must: [] },
  cut: { may: ['when'], must: [] },
  garbage: { may: ['what', 'when'], must: ['what'] },
  slow: { may: ['ms', 'when'], must: ['ms'] },
  retry_after: { may: ['status', 'seconds', 'as', 'when'], must: [] },
  late: { may: ['ms', 'after', 'answer'], must: [] },
  unauthorized: { may: ['status'], must: [] },
  close_port: { may: ['ms'], must: ['ms'] },
}
const FAULTS = Object.keys(PARAMETERS) as readonly FaultAction['fault'][]
const ALL_PARAMETERS: readonly string[] = [...new Set(Object.values(PARAMETERS).flatMap(({ may }) => may))]

function optional<T>(name: string, kind: Kind<T>): Field<T | null> {
  return { name, kind: nullable(kind), fallback: 'null', description: '' }
}

const FIELDS = mapping<RuleFields>({
  call: optional('call', oneOrMore(choice(CALLS))),
  tradeId: optional(
    'trade_id',
    text('a UUID', id => parseUuid(id) ?? undefined),
  ),
  leg: optional('leg', oneOrMore(choice(LEGS))),
  key: optional(
    'key',
    text('a key, or the beginning of keys and *', key => (key.length > 0 ? key : undefined)),
  ),
  attempt: optional('attempt', oneOrMore(range())),
  percent: optional('percent', fraction(0, 100)),
  seed: { name: 'seed', kind: integer(0, Number.MAX_SAFE_INTEGER), fallback: '1', description: '' },
  from: optional('from', moment()),
  until: optional('until', moment()),
  times: optional('times', integer(1, MOST_CALLS)),
  fault: { name: 'fault', kind: choice(FAULTS), fallback: null, description: '' },
  code: optional(
    'code',
    text('a code such as INSUFFICIENT_BALANCE', code => (/^[A-Z_]{1,64}$/.test(code) ? code : undefined)),
  ),
  status: optional('status', integer(200, 599)),
  when: optional('when', choice(WHENS)),
  body: optional('body', choice(['problem', 'html', 'none'])),
  what: optional('what', choice(GARBAGE)),
  ms: optional('ms', integer(0, MOST_MS)),
  seconds: optional('seconds', integer(0, 1_000_000)),
  as: optional('as', choice(['seconds', 'date', 'nonsense'])),
  after: optional('after', choice(['reversal'])),
  answer: optional('answer', choice(['none', 'cut', 'gateway_timeout'])),
})

const RULE: Kind<FaultRule> = {
  ...FIELDS,
  type: 'mapping',
  fields: [],
  read: (raw, setting, faults) => {
    const before = faults.length
    const fields = FIELDS.read(raw, setting, faults)
    if (fields === undefined || raw.kind !== 'mapping') return undefined
    const { may, must } = PARAMETERS[fields.fault]
    for (const { key, keyAt } of raw.entries) {
      if (!ALL_PARAMETERS.includes(key) || (may as readonly string[]).includes(key)) continue
      const allowed = may.length === 0 ? 'nothing more' : may.join(', ')
      faults.push(fault(keyAt, `${setting}.${key}`, `says nothing to the fault ${fields.fault}`, { allowed }))
    }
    for (const name of must) {
      if (fields[name] === null) faults.push(fault(raw.at, `${setting}.${name}`, `missing: ${fields.fault} needs it`))
    }
    const action = actionOf(fields, problem => faults.push(fault(raw.at, setting, problem)))
    return faults.length > before ? undefined : { match: matchOf(fields), action }
  },
}

const SCRIPT = mapping<{ readonly rules: readonly FaultRule[] }>({
  rules: { name: 'rules', kind: list(RULE, MOST_RULES), fallback: null, description: '' },
})

function matchOf(fields: RuleFields): FaultMatch {
  const { call, tradeId, leg, key, attempt, percent, seed, from, until, times } = fields
  const isPrefix = key?.endsWith('*') === true
  return {
    calls: call,
    tradeId,
    legs: leg,
    key: key === null ? null : { text: isPrefix ? key.slice(0, -1) : key, isPrefix },
    attempts: attempt,
    percent,
    seed,
    from,
    until,
    times,
  }
}

/** What is missing or goes too far has been or is told; the value is then not used. */
function actionOf(fields: RuleFields, wrong: (problem: string) => void): FaultAction {
  const { status, code, body, what, ms, seconds, as, after, answer } = fields
  const when = fields.when === 'within' ? 'before' : (fields.when ?? 'before')
  if (fields.when === 'within' && fields.fault !== 'cut') wrong('only a connection is cut within an answer')
  switch (fields.fault) {
    case 'refuse':
      return { fault: 'refuse', code: code ?? '' }
    case 'status':
      return { fault: 'status', status: status ?? 0, when, body: body ?? 'problem', code }
    case 'no_answer':
      return { fault: 'no_answer', when }
    case 'cut':
      return { fault: 'cut', when: fields.when ?? 'before' }
    case 'garbage': {
      const isOfAnswer = what?.startsWith('other_') === true
      if (isOfAnswer && fields.when === 'before') wrong(`${what} changes an answer: it is after the effect`)
      return { fault: 'garbage', what: what ?? 'bytes', when: isOfAnswer ? 'after' : when }
    }
    case 'slow':
      return { fault: 'slow', ms: ms ?? 0, when: fields.when === null ? 'after' : when }
    case 'retry_after':
      if (status !== null && status !== 429 && status !== 503) wrong('the status is 429 or 503')
      return {
        fault: 'retry_after',
        status: status === 429 ? 429 : 503,
        seconds: seconds ?? 1,
        as: as ?? 'seconds',
        when,
      }
    case 'late':
      if ((ms === null) === (after === null)) wrong('late needs either ms or after')
      return { fault: 'late', ms, answer: answer ?? 'none' }
    case 'unauthorized':
      if (status !== null && status !== 401 && status !== 403) wrong('the status is 401 or 403')
      return { fault: 'unauthorized', status: status === 403 ? 403 : 401 }
    case 'close_port':
      return { fault: 'close_port', ms: ms ?? 0 }
  }
}

/** A value, or a list of such. */
function oneOrMore<T>(item: Kind<T>): Kind<readonly T[]> {
  const many = list(item, MOST_RULES)
  return {
    ...item,
    allowed: `${item.allowed}, or a list of these`,
    read: (raw, setting, faults) => {
      if (raw.kind === 'list') return many.read(raw, setting, faults)
      const one = item.read(raw, setting, faults)
      return one === undefined ? undefined : [one]
    },
  }
}

/** `3`, `2-5`, `4-`. */
function range(): Kind<Range> {
  return scalarOf('a number from 1, or a range such as 2-5 or 4-', source => {
    const [, from, dash, to] = /^([1-9][0-9]{0,8})(-)?([1-9][0-9]{0,8})?$/.exec(source) ?? []
    if (from === undefined || (dash === undefined && to !== undefined)) return undefined
    const last = to === undefined ? (dash === undefined ? Number(from) : null) : Number(to)
    return last !== null && last < Number(from) ? undefined : { from: Number(from), to: last }
  })
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

/** `100`: the hundredth call; `500ms`, `30s`, `2m`: a time. */
function moment(): Kind<Moment> {
  return scalarOf('a number of calls, or a time such as 500ms, 30s or 2m', source => {
    const [, digits, unit] = /^([0-9]{1,9})(ms|s|m)?$/.exec(source) ?? []
    if (digits === undefined) return undefined
    if (unit === undefined) return { unit: 'call', value: Number(digits) }
    return { unit: 'ms', value: Number(digits) * (UNITS[unit] ?? 1) }
  })
}

function scalarOf<T>(allowed: string, convert: (source: string) => T | undefined): Kind<T> {
  return {
    type: 'text',
    allowed,
    isSecret: false,
    fields: [],
    read: (raw, setting, faults) => {
      const value = raw.kind === 'scalar' ? convert(raw.text) : undefined
      if (value === undefined) {
        const shown = raw.kind === 'scalar' ? showValue(raw, false) : showKind(raw)
        faults.push(fault(raw.at, setting, 'not allowed', { value: shown, allowed }))
      }
      return value
    },
  }
}
