import { expect, test } from 'vitest'
import { explainFileError, explainOutput, PostgresStartError } from './errors.ts'

test.each([
  ['could not write to file "x": No space left on device', 'DISK_FULL'],
  ['could not open file "x": Permission denied', 'NO_PERMISSION'],
  ['data directory "x" has wrong ownership', 'NO_PERMISSION'],
  ['pre-existing shared memory block (key 1, ID 2) is still in use', 'STILL_IN_USE'],
  ['lock file "postmaster.pid" already exists', 'STILL_IN_USE'],
  ['error while loading shared libraries: libpq.so.5', 'BINARIES_UNUSABLE'],
  ['PANIC:  could not locate a valid checkpoint record', 'CLUSTER_DAMAGED'],
  ['FATAL:  something new', 'START_FAILED'],
  ['', 'START_FAILED'],
])('the last words %j are told as %s, with where and what to do', (output, code) => {
  const error = explainOutput('the server ended', '/data/postgres', `first\n${output}`)
  expect(error).toMatchObject({ code, message: expect.stringContaining('/data/postgres') })
  expect(error.message).toContain(`  ${output}`.trimEnd())
  expect(error.hint).not.toBe('')
})

test.each([
  ['ENOSPC', 'DISK_FULL'],
  ['EROFS', 'NO_PERMISSION'],
  ['EACCES', 'NO_PERMISSION'],
  ['EIO', 'START_FAILED'],
])('the system error %s is told as %s', (system, code) => {
  const cause = Object.assign(new Error(`${system}: mkdir`), { code: system, path: '/data/postgres' })
  const error = explainFileError(cause, '/data')
  expect(error).toMatchObject({ code, cause, message: expect.stringContaining('/data') })
  expect(explainFileError(error, '/data')).toBe(error)
  expect(error).toBeInstanceOf(PostgresStartError)
})
