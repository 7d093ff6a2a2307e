/** What the build checks of the code as text (docs/style.md, "What the build checks"). */
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['src', 'test', 'bench', 'examples']
const MOST_LINES = 450
/** Exports for nobody that are known, to go when their module is next changed; the list only grows shorter. */
const EXCEPTED: readonly string[] = ['src/api/contract.ts: Instant']

interface Source {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
}

let sources: readonly Source[] = []
/** What is shipped. */
let shipped: readonly Source[] = []

beforeAll(async () => {
  sources = (await Promise.all(FOLDERS.map(sourcesIn))).flat()
  shipped = sources.filter(({ path }) => path.startsWith('src/') && !path.endsWith('.test.ts'))
})

async function sourcesIn(folder: string): Promise<readonly Source[]> {
  const entries = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true }).catch(() => [])
  const paths = entries
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/'))
  return await Promise.all(paths.map(async path => ({ path, text: await readFile(join(ROOT, path), 'utf8') })))
}

/** The folder under src, or the module where it stands there by itself; `config.ts` belongs to its folder. */
function areaOf(path: string): string {
  const [, area = '', ...rest] = path.split('/')
  return rest.length === 0 ? area.replace(/\.ts$/, '') : area
}

interface Import {
  readonly from: string
  /** A path from the root for what is ours, else the name of the package. */
  readonly to: string
  readonly isOurs: boolean
  readonly isTypeOnly: boolean
}

function importsOf({ path, text }: Source): readonly Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?[^'";]*?\bfrom\s+'([^']+)'|^import\s+'([^']+)'/gm)
  const dynamic = text.matchAll(/\b(?:import|require)\(\s*'([^']+)'\s*\)/g)
  const found = [
    ...[...statements].map(match => ({ to: match[2] ?? match[3] ?? '', isTypeOnly: match[1] !== undefined })),
    ...[...dynamic].map(match => ({ to: match[1] ?? '', isTypeOnly: false })),
  ]
  return found.map(({ to, isTypeOnly }) => {
    const isOurs = to.startsWith('.')
    const target = isOurs ? normalize(join(dirname(path), to)).replaceAll('\\', '/') : to
    return { from: path, to: target, isOurs, isTypeOnly }
  })
}

/** Modules that stand by themselves and know nobody. */
const LEAVES = ['db', 'statements', 'batcher', 'clock', 'log', 'text', 'uuid']
const ANY = '*'

/** Which areas each one may import from, besides its own. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  matching: ['core'],
  wallet: ['core', ...LEAVES],
  store: ['core', ...LEAVES],
  worker: ['core', 'store', 'wallet', ...LEAVES],
  orders: ['core', 'matching', 'store', 'wallet', 'worker', ...LEAVES],
  api: ['core', 'matching', 'store', 'wallet', 'worker', 'orders', ...LEAVES],
  replay: ['core', 'store', 'wallet', 'worker', ...LEAVES],
  verify: ['db'],
  conformance: ['core'],
  postgres: ['core'],
  config: ['core'],
  migrate: ['db'],
  'reach-database': ['db'],
  metrics: ['core', 'log', 'clock'],
  main: [ANY],
  'wallet-service': [ANY],
  // Chooses and makes the wallet, for main.
  'wallet-link': ['core', 'config', 'store', 'wallet', 'worker', ...LEAVES],
  // The door of legwork/matching, with a clock and ids for what has none.
  'matching-engine': ['core', 'matching', 'clock', 'uuid'],
  index: [ANY],
  cli: [ANY],
  ...Object.fromEntries(LEAVES.map(leaf => [leaf, []])),
  db: ['statements'],
}

describe('imports point one way', () => {
  test('core ← matching, wallet, store ← worker ← api, cli ← main; every area has a rule', () => {
    const wrong = shipped.flatMap(source => {
      const area = areaOf(source.path)
      const allowed = ALLOWED[area]
      if (allowed === undefined) return [`${source.path}: no rule says what ${area} may import`]
      return importsOf(source)
        .filter(({ isOurs }) => isOurs)
        .filter(({ to }) => areaOf(to) !== area && !allowed.includes(areaOf(to)) && !allowed.includes(ANY))
        .map(({ to }) => `${source.path} imports ${to}`)
    })
    expect(wrong).toEqual([])
  })

  test('nothing imports from the command line, and what is shipped nothing from tests', () => {
    const wrong = shipped.flatMap(source =>
      importsOf(source)
        .filter(({ isOurs }) => isOurs)
        .filter(({ to }) => !to.startsWith('src/') || (areaOf(to) === 'cli' && areaOf(source.path) !== 'cli'))
        .map(({ to }) => `${source.path} imports ${to}`),
    )
    expect(wrong).toEqual([])
  })

  test('of core, PostgreSQL takes types only', () => {
    const wrong = shipped
      .filter(({ path }) => areaOf(path) === 'postgres')
      .flatMap(importsOf)
      .filter(({ isOurs, isTypeOnly, to }) => isOurs && areaOf(to) === 'core' && !isTypeOnly)
    expect(wrong).toEqual([])
  })

  test('no two modules import each other’s values, however far round', () => {
    const values = new Map(
      shipped.map(source => [
        source.path,
        importsOf(source).flatMap(({ to, isOurs, isTypeOnly }) => (isOurs && !isTypeOnly ? [to] : [])),
      ]),
    )
    const done = new Set<string>()
    const visit = (path: string, way: readonly string[]): void => {
      if (way.includes(path)) throw new Error(`a circle: ${[...way.slice(way.indexOf(path)), path].join(' → ')}`)
      if (done.has(path)) return
      for (const to of values.get(path) ?? []) visit(to, [...way, path])
      done.add(path)
    }
    for (const path of values.keys()) visit(path, [])
  })
})

describe('the rules are pure', () => {
  const isPure = ({ path }: Source): boolean => ['core', 'matching'].includes(areaOf(path))

  test('no package, no clock, no randomness, no process, no waiting in core and matching', () => {
    const impure =
      /\bDate\b|\bperformance\b|Math\.random|\bcrypto\b|\bprocess\.|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\basync\b|\bawait\b|\bPromise\b|\bconsole\b|\bfetch\(|globalThis/
    const wrong = shipped.filter(isPure).flatMap(({ path, text }) =>
      withoutWords(text)
        .split('\n')
        .flatMap((line, at) => (impure.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : [])),
    )
    const packages = shipped
      .filter(isPure)
      .flatMap(importsOf)
      .filter(({ isOurs }) => !isOurs)
    expect(wrong).toEqual([])
    expect(packages).toEqual([])
  })

  test('nothing reads the environment but the configuration and the command line', () => {
    const wrong = shipped.filter(
      ({ path, text }) => /process\.env\b/.test(withoutWords(text)) && !['config', 'cli'].includes(areaOf(path)),
    )
    expect(wrong.map(({ path }) => path)).toEqual([])
  })
})

/** The code with comments blanked out, line by line. */
function withoutWords(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, comment => comment.replace(/[^\n]/g, ' ')).replace(/(^|\s)\/\/.*$/gm, '$1')
}

describe('files', () => {
  test('no default exports', () => {
    const wrong = sources.filter(({ text }) => /^export default\b|\bas default\b/m.test(text))
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  test(`none that is shipped has more than ${MOST_LINES} lines`, () => {
    const long = shipped.map(({ path, text }) => [path, text.split('\n').length] as const)
    expect(long.filter(([, lines]) => lines > MOST_LINES)).toEqual([])
  })

  test('nothing is left to be done, left out of a run, or run alone', () => {
    const marks = [`TO${'DO'}`, `FIX${'ME'}`, `XX${'X'}`, `\\.on${'ly'}\\(`, `\\.sk${'ip'}\\(`, `\\bdebu${'gger'}\\b`]
    const mark = new RegExp(marks.join('|'))
    const wrong = sources.flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, at) => (mark.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : [])),
    )
    expect(wrong).toEqual([])
  })

  test('every one that is shipped is imported by another, or is where a program begins', () => {
    const imported = new Set(sources.flatMap(importsOf).map(({ to }) => to))
    const begins = ['src/index.ts', 'src/matching-engine.ts', 'src/cli/index.ts']
    const dead = shipped.map(({ path }) => path).filter(path => !imported.has(path) && !begins.includes(path))
    // What is started as a process or a thread of its own is named by its path.
    const isStarted = (path: string): boolean =>
      shipped.some(({ text }) => text.includes(`./${path.split('/').at(-1)}'`))
    expect(dead.filter(path => !isStarted(path))).toEqual([])
  })

  // A type that only says what an exported function takes or gives is there for whoever calls it.
  test('no function, class or constant is exported for nobody', () => {
    const names = /^export (?:async )?(?:function\*?|const|class|let) ([A-Za-z0-9_]+)/gm
    const dead = shipped.flatMap(({ path, text }) =>
      [...text.matchAll(names)]
        .map(match => match[1] ?? '')
        .filter(name => {
          const word = new RegExp(`\\b${name}\\b`)
          return !sources.some(other => other.path !== path && word.test(withoutWords(other.text)))
        })
        .map(name => `${path}: ${name}`),
    )
    expect(dead.filter(each => !EXCEPTED.includes(each))).toEqual([])
  })
})
