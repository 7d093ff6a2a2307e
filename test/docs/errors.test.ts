import { readdir, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { ERROR_GROUPS, ERRORS } from '../../src/core/errors.ts'
import { expectGenerated, remakeCommand } from '../support/generated.ts'

const TEST = 'test/docs/errors.test.ts'

function document(): string {
  const groups = ERROR_GROUPS.map(([title, entries]) => {
    const rows = Object.entries(entries).map(([code, entry]) => `| \`${code}\` | ${entry.title} | ${entry.action} |`)
    return `## ${title}\n\n| code | meaning | what to do |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  })
  return `# Error codes

<!-- Made by ${TEST} from the catalogue in src/core/errors.ts. To make it anew:
     ${remakeCommand(TEST)} -->

Codes are stable; the words beside them may change. Answers of the HTTP API carry them as \`code\` of an
\`application/problem+json\`; failed attempts, failure reasons and dead letters name them before their detail. Besides these a
failed attempt may carry \`HTTP_\` with the status of an answer that says nothing the protocol knows (perhaps done: it is repeated
under its key), or the system's code of a connection that could not be made, such as \`ECONNREFUSED\` (not sent: it uses up no
retry).

${groups.join('\n')}`
}

test('docs/errors.md is the catalogue', async () => {
  await expectGenerated('docs/errors.md', document(), TEST)
})

/** Where a code becomes part of an answer, a failure or a letter. */
const PLACES = /(?:\bcode: |unanswered\(|problemOf\(|invalid\([^)]*, )'([A-Z]+(?:_[A-Z]+)*)'/g
/** Codes of other things: a file, the configuration, the command line, PostgreSQL itself. */
const FOLDERS = ['core', 'wallet', 'worker', 'store', 'api']

test('every code that the sources use is in the catalogue', async () => {
  const used = new Map<string, string>()
  for (const folder of FOLDERS) {
    const root = new URL(`../../src/${folder}/`, import.meta.url)
    for (const file of await readdir(root, { recursive: true })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
      const text = await readFile(new URL(file, root), 'utf8')
      for (const [, code = ''] of text.matchAll(PLACES)) used.set(code, `${folder}/${file}`)
    }
  }
  expect(used.size).toBeGreaterThan(20)
  expect([...used].filter(([code]) => !Object.hasOwn(ERRORS, code))).toEqual([])
})
