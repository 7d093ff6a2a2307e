/** The examples of docs/faults.md, run as they stand there. */
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/log.ts'
import { readFaultRules } from '../../src/wallet-service/fault-rules.ts'
import { createMemoryWalletService } from '../../src/wallet-service/service.ts'
import { authenticate, bearer } from '../support/api.ts'
import { answersIn, openRaw, request } from '../support/raw-http.ts'
import { BUYER } from '../support/trades.ts'

const DOCUMENT = readFileSync(new URL('../../docs/faults.md', import.meta.url), 'utf8')
const EXAMPLE = /^### (?<title>.+)\n[\s\S]*?```yaml\n(?<script>[\s\S]*?)```\n\n```text\n(?<steps>[\s\S]*?)```/gm

const examples = [...DOCUMENT.matchAll(EXAMPLE)].map(({ groups = {} }) => groups)
const AUTH = bearer('operator')

function bytesOf([verb = '', key = '', amount]: readonly string[]): string {
  const body = { user_id: BUYER, currency: 'USDT', amount, reason: 'TRADE_SETTLEMENT', trade_id: BUYER }
  switch (verb) {
    case 'credit':
      return request('POST', '/v1/credits', body, { ...AUTH, 'idempotency-key': key })
    case 'reverse':
      return request('POST', '/v1/reversals', { key }, AUTH)
    case 'balance':
      return request('GET', `/v1/balances/${BUYER}/USDT`, undefined, AUTH)
    default:
      throw new Error(`the document has a step that the test does not know: ${verb}`)
  }
}

/** What comes back, in the document's words. */
async function outcomeOf(url: string, step: readonly string[]): Promise<string> {
  const raw = await openRaw(url).catch(() => null)
  if (raw === null) return 'nobody there'
  raw.send(bytesOf(step))
  await raw.until(text => answersIn(text).length > 0, 100).then(came => came || raw.ended())
  const [answer] = answersIn(raw.received())
  raw.close()
  if (answer === undefined) return 'cut'
  if (step[0] === 'balance') return JSON.parse(answer.body).total
  const retryAfter = answer.headers['retry-after']
  if (retryAfter !== undefined) return `${answer.status} retry-after ${retryAfter}`
  if (answer.headers['content-type']?.includes('html') === true) return `${answer.status}`
  const said = JSON.parse(answer.body)
  return `${answer.status} ${said.code ?? (said.replayed ? 'replayed' : said.status)}`
}

test('there are three of them, and every script in the document is one', () => {
  expect(examples).toHaveLength(3)
  const scripts = [...DOCUMENT.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, script = '']) => script)
  for (const script of scripts) {
    expect(readFaultRules(script, { source: 'file', name: 'docs/faults.md' }).length).toBeGreaterThan(0)
  }
})

test.each(examples)('$title', async ({ script = '', steps = '' }) => {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const faults = { rules: readFaultRules(script, { source: 'file', name: 'docs/faults.md' }), source: [] }
  const log = createLogger('silent')
  const options = { config, level: 'settlements', authenticate, log, version: '0', faults } as const
  const service = await createMemoryWalletService(options)
  const url = await service.listen({ host: '127.0.0.1', port: 0 })
  try {
    for (const line of steps.trim().split('\n')) {
      const [step = '', expected] = line.split(' → ')
      const words = step.split(' ')
      if (words[0] === 'wait') await delay(Number(words[1]))
      else expect(await outcomeOf(url, words), line).toBe(expected)
    }
  } finally {
    await service.close()
  }
})
