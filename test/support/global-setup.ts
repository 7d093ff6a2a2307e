import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../../src/postgres/supervisor.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    readonly databaseUrl: string
  }
}

/**
 * One PostgreSQL for the whole run: the embedded one, in a folder of its own, or the one LEGWORK_TEST_DATABASE_URL names
 * (its user must be allowed to make databases).
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['LEGWORK_TEST_DATABASE_URL']
  if (given !== undefined) {
    project.provide('databaseUrl', given)
    return async () => {}
  }
  const folder = await mkdtemp(join(tmpdir(), 'legwork-test-'))
  // Copied by tests that start servers of their own (process.ts), whose environment they share.
  const cluster = join(folder, 'empty')
  await (await startEmbeddedPostgres({ dataDir: cluster })).stop()
  await rm(join(cluster, 'postgres.log'))
  // Dozens of them run on one machine, each for a moment and with next to nothing in it.
  await appendFile(join(cluster, 'postgres', 'postgresql.conf'), "shared_buffers = '64MB'\n")
  process.env['LEGWORK_TEST_CLUSTER'] = cluster
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'shared') })
  const { host, user, password, database } = server.connection
  project.provide('databaseUrl', `postgres://${user}:${password}@/${database}?host=${encodeURIComponent(host)}`)
  return async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}
