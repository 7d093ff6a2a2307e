import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { expect } from 'vitest'

const ROOT = new URL('../../', import.meta.url)

/** The command that makes a generated document anew, for its own header and for who finds it stale. */
export function remakeCommand(testFile: string): string {
  return `LEGWORK_TEST_UPDATE=1 npx vitest run ${testFile}`
}

/** Fails when the committed document is not what was made now; with LEGWORK_TEST_UPDATE=1 it is written instead. */
export async function expectGenerated(path: string, made: string, testFile: string): Promise<void> {
  const file = new URL(path, ROOT)
  if (process.env['LEGWORK_TEST_UPDATE'] === '1') {
    await mkdir(new URL('.', file), { recursive: true })
    await writeFile(file, made)
  }
  const committed = await readFile(file, 'utf8').catch(() => '')
  expect(committed, `${path} is stale; make it anew with ${remakeCommand(testFile)}`).toBe(made)
}
