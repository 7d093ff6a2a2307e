/**
 * What a wallet call costs the process that makes it: our client beside undici's Pool.request, in the same run, against
 * the same trivial server in a process of its own. Under load by the thousand, then few at a time at random moments.
 *
 *   node bench/http-client.bench.ts --requests 200000 --concurrency 1000 --rate 2500
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { cpus } from 'node:os'
import { setImmediate as turn } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Pool } from 'undici'
import { systemClock } from '../src/clock.ts'
import { createLogger } from '../src/log.ts'
import { createHttpWallet } from '../src/wallet/http/http-wallet.ts'
import { createPipelinedTransport } from '../src/wallet/http/pipelined-transport.ts'

export interface BenchOptions {
  readonly requests: number
  readonly concurrency: number
  /** Requests a second of the part with low load. */
  readonly rate: number
}

interface Figures {
  readonly per_second: number
  readonly cpu_us: number
  readonly per_cpu_second: number
  readonly p50_ms_at_rate: number
  readonly p99_ms_at_rate: number
}

export interface BenchResult {
  readonly bench: 'http-client'
  readonly node: string
  readonly cpu: string
  readonly parameters: BenchOptions
  readonly ours: Figures
  /** The whole of a debit through the wallet client: written, sent, its answer read and checked. */
  readonly wallet: Figures
  readonly undici: Figures
  readonly undici_pipelined: Figures
  readonly ours_to_undici_per_cpu: number
}

const BODY = JSON.stringify({
  user_id: '00000000-0000-4000-8000-00000000000b',
  currency: 'USDT',
  amount: '50025.5',
  reason: 'TRADE_SETTLEMENT',
  trade_id: '00000000-0000-4000-9000-00000000aaaa',
})
const HEADERS = { Authorization: 'Bearer a-token-of-some-length-as-they-are' }
const CONNECTIONS = 64

interface Client {
  call(key: string): Promise<boolean>
  close(): Promise<void>
}

function ours(url: string): Client {
  const transport = createPipelinedTransport({
    url,
    headers: HEADERS,
    clock: systemClock(),
    log: createLogger('warn'),
  })
  return {
    async call(key) {
      const headers = { 'Idempotency-Key': key }
      const answer = await transport.send({ method: 'POST', path: '/v1/debits', headers, body: BODY, deadlineMs: 5000 })
      if (answer.kind !== 'answer') return false
      transport.confirm(answer, true)
      return answer.status === 201 && answer.body.includes(key)
    },
    close: async () => transport.close(),
  }
}

function wallet(url: string): Client {
  const asset = { code: 'USDT', scale: 8 }
  const client = createHttpWallet({
    url,
    token: 'a-token-of-some-length-as-they-are',
    instruments: { assets: new Map([['USDT', asset]]) },
    timeoutMs: 5000,
    clock: systemClock(),
    log: createLogger('warn'),
  })
  const debit = {
    tradeId: '00000000-0000-4000-9000-00000000aaaa',
    type: 'debit',
    userId: '00000000-0000-4000-8000-00000000000b',
    currency: 'USDT',
    amount: 5_002_550_000_000n,
    reason: 'TRADE_SETTLEMENT',
  } as const
  return {
    call: async key => (await client.apply({ ...debit, key })).outcome === 'applied',
    close: async () => client.close(),
  }
}

function undici(url: string, pipelining: number): Client {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining })
  return {
    async call(key) {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: '/v1/debits',
        headers: { ...HEADERS, 'Content-Type': 'application/json', 'Idempotency-Key': key },
        body: BODY,
        idempotent: true,
        headersTimeout: 5000,
        bodyTimeout: 5000,
      })
      return (await body.text()).includes(key) && statusCode === 201
    },
    close: () => pool.close(),
  }
}

/** Runs the server in a process of its own, so that its work is not counted as the client's. */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  const server = fork(new URL(import.meta.url), ['--serve'], { execArgv: ['--disable-warning=ExperimentalWarning'] })
  try {
    const url = await urlOf(server)
    const figures = {
      ours: await measure(ours(url), options),
      wallet: await measure(wallet(url), options),
      undici: await measure(undici(url, 1), options),
      undici_pipelined: await measure(undici(url, 16), options),
    }
    const ratio = figures.ours.per_cpu_second / figures.undici.per_cpu_second
    return {
      bench: 'http-client',
      node: process.version,
      cpu: `${cpus().length} × ${cpus()[0]?.model}`,
      parameters: options,
      ...figures,
      ours_to_undici_per_cpu: Math.round(ratio * 10) / 10,
    }
  } finally {
    server.kill()
  }
}

async function urlOf(server: ChildProcess): Promise<string> {
  const [port] = await once(server, 'message')
  return `http://127.0.0.1:${String(port)}`
}

async function measure(client: Client, { requests, concurrency, rate }: BenchOptions): Promise<Figures> {
  try {
    await load(client, Math.min(requests, concurrency * 5), concurrency)
    const cpuBefore = process.cpuUsage()
    const started = performance.now()
    await load(client, requests, concurrency)
    const seconds = (performance.now() - started) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    const latencies = await atRate(client, rate, Math.min(requests, rate * 4))
    const cpuUs = (user + system) / requests
    return {
      per_second: Math.round(requests / seconds),
      cpu_us: Math.round(cpuUs * 10) / 10,
      per_cpu_second: Math.round(1e6 / cpuUs),
      p50_ms_at_rate: quantile(latencies, 0.5),
      p99_ms_at_rate: quantile(latencies, 0.99),
    }
  } finally {
    await client.close()
  }
}

async function load(client: Client, requests: number, concurrency: number): Promise<void> {
  let made = 0
  const caller = async (): Promise<void> => {
    while (made < requests) await expectAnswer(client, `key-${made++}`)
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
}

/** Requests at the moments of a Poisson process of a fixed seed, whatever those before them do. */
async function atRate(client: Client, rate: number, requests: number): Promise<readonly number[]> {
  const latencies: number[] = []
  const calls: Promise<void>[] = []
  let state = 1
  let at = performance.now()
  for (let made = 0; made < requests; made++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    at += (-Math.log(1 - state / 2 ** 32) / rate) * 1000
    while (performance.now() < at) await turn()
    const started = performance.now()
    calls.push(
      expectAnswer(client, `rate-${made}`).then(() => {
        latencies.push(performance.now() - started)
      }),
    )
  }
  await Promise.all(calls)
  return latencies.sort((a, b) => a - b)
}

async function expectAnswer(client: Client, key: string): Promise<void> {
  if (!(await client.call(key))) throw new Error(`the call of ${key} got no proper answer`)
}

function quantile(sorted: readonly number[], share: number): number {
  return Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 100) / 100
}

/** Answers any debit as applied, in order, and does nothing else. */
function serve(): void {
  const server = createServer(answerAll)
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    process.send?.(typeof address === 'object' && address !== null ? address.port : 0)
  })
  process.once('disconnect', () => process.exit())
}

function answerAll(socket: Socket): void {
  let text = ''
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
    let answers = ''
    let at = 0
    for (;;) {
      const end = text.indexOf('\r\n\r\n', at)
      if (end === -1) break
      const head = text.slice(at, end)
      const [, length = '0'] = /content-length: ([0-9]+)/i.exec(head) ?? []
      const [, key = ''] = /idempotency-key: ([^\r]*)/i.exec(head) ?? []
      const next = end + 4 + Number(length)
      if (text.length < next) break
      const said = `{"key":"${key}","type":"debit",${text.slice(end + 5, next - 1)},"status":"applied","balance_after":"1","applied_at":"2026-11-22T12:00:00.123Z","replayed":false}`
      answers += `HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: ${said.length}\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=72\r\n\r\n${said}`
      at = next
    }
    text = text.slice(at)
    if (answers !== '') socket.write(answers, 'latin1')
  })
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      serve: { type: 'boolean', default: false },
      requests: { type: 'string', default: '200000' },
      concurrency: { type: 'string', default: '1000' },
      rate: { type: 'string', default: '2500' },
    },
  })
  if (values.serve) serve()
  else {
    const options = { requests: +values.requests, concurrency: +values.concurrency, rate: +values.rate }
    process.stdout.write(`${JSON.stringify(await bench(options))}\n`)
  }
}
