import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createLogger } from './log.ts'

function linesOf(level: 'info' | 'warn' | 'silent', write: (log: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = []
  write(createLogger(level, { write: line => lines.push(line) }))
  return lines
}

test('a line is one JSON object with level, time and service', () => {
  const [line = ''] = linesOf('info', log => log.error({ trade_id: 't' }, 'line\nbreak'))
  expect(line.indexOf('\n')).toBe(line.length - 1)
  expect(JSON.parse(line)).toEqual({
    level: 'ERROR',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    service: 'legwork',
    trade_id: 't',
    msg: 'line\nbreak',
  })
})

test('what is below the level is not written', () => {
  const all = (log: ReturnType<typeof createLogger>): void => {
    log.info('i')
    log.warn('w')
    log.error('e')
  }
  expect(linesOf('info', all)).toHaveLength(3)
  expect(linesOf('warn', all)).toHaveLength(2)
  expect(linesOf('silent', all)).toHaveLength(0)
})

test('an error is written with its message, and the cause of it', () => {
  const error = new Error('outer', { cause: new Error('inner') })
  const [line = ''] = linesOf('info', log => log.error({ err: error }, 'failed'))
  expect(JSON.parse(line)['err'].message).toContain('outer: inner')
})

describe('F-3 no secret and no token is ever written', () => {
  const secret = 'tr0ub4dor'
  test.each<[string, object]>([
    ['at the top', { token: secret }],
    ['in an object', { wallet: { token: secret, url: 'http://w' } }],
    ['two objects deep', { config: { database: { password: secret } } }],
    ['in the headers of a request', { req: { headers: { authorization: `Bearer ${secret}` } } }],
    ['in headers', { headers: { authorization: `Bearer ${secret}`, Authorization: secret, cookie: secret } }],
    ['a secret', { webhook: { secret } }],
  ])('%s', (_, what) => {
    const [line = ''] = linesOf('info', log => log.info(what, 'said'))
    expect(line).not.toContain(secret)
    expect(line).toContain('[redacted]')
  })
})

test('without a destination lines go to standard error, and are there although the process ends at once', () => {
  const url = fileURLToPath(new URL('./log.ts', import.meta.url))
  const script = `const { createLogger } = await import(${JSON.stringify(url)}); createLogger().error('last words'); process.kill(process.pid, 'SIGKILL')`
  const { stderr, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  expect(stdout).toBe('')
  expect(JSON.parse(stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({ level: 'ERROR', msg: 'last words' })
})
