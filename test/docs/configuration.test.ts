import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { describeSettings } from '../../src/config.ts'
import { expectGenerated, remakeCommand } from '../support/generated.ts'

const TEST = 'test/docs/configuration.test.ts'

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ').replace(/ +/g, ' ').trim()
}

function document(): string {
  const rows = describeSettings().map(({ path, environment, flag, allowed, fallback, description }) => {
    const sources = [environment, flag].filter(source => source !== null).map(source => `\`${source}\``)
    const value = fallback === null ? 'has to be given' : `\`${cell(fallback)}\``
    return `| \`${path}\` | ${value} | ${cell(allowed)} | ${cell(description)} | ${sources.join('<br>')} |`
  })
  return `# Configuration

<!-- Made by ${TEST} from the table that the program itself reads its settings by. To make it anew:
     ${remakeCommand(TEST)} -->

\`config.yaml\` in the current folder, or the file that \`--config\` names (JSON is YAML too); then the environment, then flags:
the later wins. A list in the environment is given whole, as YAML or JSON. A name that is not known is refused with its line,
its column and the nearest name that is; everything that is wrong is told at once. \`LEGWORK_ADMIN_TOKEN\` is the one variable
that is not a setting: it is the first admin key.

| setting | default | allowed | what it is | elsewhere |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`
}

test('docs/configuration.md is what the program reads', async () => {
  await expectGenerated('docs/configuration.md', document(), TEST)
})

test('the README names every document it links to as it is', async () => {
  const root = new URL('../../', import.meta.url)
  const readme = await readFile(new URL('README.md', root), 'utf8')
  const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path ?? '')
  expect(links.length).toBeGreaterThan(3)
  for (const path of links) await expect(readFile(new URL(path, root)), path).resolves.toBeDefined()
})
