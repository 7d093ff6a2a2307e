import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { type Database, openDatabase } from '../../src/db.ts'

/** A database of the test file's own, empty, on the run's PostgreSQL. */
export interface TestDatabase {
  readonly url: string
  readonly database: Database
  drop(): Promise<void>
}

export async function createTestDatabase(): Promise<TestDatabase> {
  const serverUrl = inject('databaseUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  const server = openDatabase({ url: serverUrl }, 1)
  await server.query(`create database ${name}`)
  const address = new URL(serverUrl.replace('@/', '@localhost/'))
  address.pathname = `/${name}`
  const url = serverUrl.includes('@/') ? address.href.replace('@localhost/', '@/') : address.href
  const database = openDatabase({ url }, 8)
  return {
    url,
    database,
    drop: async () => {
      await database.end()
      await server.query(`drop database ${name} with (force)`)
      await server.end()
    },
  }
}
