/**
 * What the wallet in memory costs as a process of its own: single credits a second over a few pipelined connections, by the
 * lean server that `legwork wallet --memory` has, and by the framework's routes on node:http, in the same run. The server is
 * a process of its own; this one is the load, a client as small as can be. `cpu_us` is the server's processor time for a
 * call, which a busy machine does not change: a core does a million of those.
 *
 *   node bench/wallet-server.bench.ts --calls 200000 --connections 4 --depth 64
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { createServer } from '../src/api/server.ts'
import { systemClock } from '../src/clock.ts'
import { loadConfig } from '../src/config.ts'
import { createLogger } from '../src/log.ts'
import { createMemoryWallet } from '../src/wallet/memory-wallet.ts'
import { createMemoryWalletService } from '../src/wallet-service/service.ts'

export interface BenchOptions {
  readonly calls: number
  readonly connections: number
  /** Requests under way on each connection. */
  readonly depth: number
}

interface Figures {
  readonly per_second: number
  readonly cpu_us: number
  /** What the wallet keeps of a call, and what is not collected yet. */
  readonly heap_bytes_per_call: number
}

export interface BenchResult {
  readonly bench: 'wallet-server'
  readonly node: string
  readonly cpu: string
  readonly parameters: BenchOptions
  readonly lean: Figures
  readonly routes: Figures
  readonly lean_to_routes_per_cpu: number
}

type Kind = 'lean' | 'routes'

interface Usage {
  readonly cpuUs: number
  readonly heapBytes: number
}

const TOKEN = 'the-token-of-the-benchmark'
const BODY = JSON.stringify({
  user_id: '00000000-0000-4000-8000-00000000000b',
  currency: 'USDT',
  amount: '50025.5',
  reason: 'TRADE_SETTLEMENT',
  trade_id: '00000000-0000-4000-9000-00000000aaaa',
})

export async function bench(options: BenchOptions): Promise<BenchResult> {
  const routes = await measure('routes', options)
  const lean = await measure('lean', options)
  return {
    bench: 'wallet-server',
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model}`,
    parameters: options,
    lean,
    routes,
    lean_to_routes_per_cpu: Math.round((routes.cpu_us / lean.cpu_us) * 10) / 10,
  }
}

async function measure(kind: Kind, options: BenchOptions): Promise<Figures> {
  const server = fork(new URL(import.meta.url), ['--serve', kind], {
    execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=64', '--expose-gc'],
  })
  try {
    const port = await answerOf<number>(server)
    // What is measured is not the compiler at work.
    await load(port, 'warm', { ...options, calls: Math.ceil(options.calls / 10) })
    const before = await usageOf(server)
    const started = performance.now()
    await load(port, 'k', options)
    const seconds = (performance.now() - started) / 1000
    const after = await usageOf(server)
    return {
      per_second: Math.round(options.calls / seconds),
      cpu_us: Math.round(((after.cpuUs - before.cpuUs) / options.calls) * 10) / 10,
      heap_bytes_per_call: Math.round((after.heapBytes - before.heapBytes) / options.calls),
    }
  } finally {
    server.kill()
  }
}

async function answerOf<Answer>(server: ChildProcess): Promise<Answer> {
  const [answer] = (await once(server, 'message')) as [Answer]
  return answer
}

async function usageOf(server: ChildProcess): Promise<Usage> {
  server.send('usage')
  return await answerOf<Usage>(server)
}

/** Makes all the calls, each with a key of its own, and throws unless each is answered with 201. */
async function load(port: number, prefix: string, { calls, connections, depth }: BenchOptions): Promise<void> {
  let sent = 0
  const take = (most: number): string => {
    let text = ''
    for (let count = 0; count < most && sent < calls; count++) text += requestOf(`${prefix}-${sent++}`)
    return text
  }
  const share = Array.from({ length: connections }, () => runConnection(port, depth, take))
  const answered = await Promise.all(share)
  const created = answered.reduce((sum, count) => sum + count, 0)
  if (created !== calls) throw new Error(`${created} of ${calls} calls were answered with 201`)
}

function requestOf(key: string): string {
  return (
    `POST /v1/credits HTTP/1.1\r\nHost: wallet\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n` +
    `Idempotency-Key: ${key}\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`
  )
}

const CREATED = 'HTTP/1.1 201'

/** Keeps `depth` requests under way until there are no more; gives the number of answers. */
async function runConnection(port: number, depth: number, take: (most: number) => string): Promise<number> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  let underWay = 0
  let answered = 0
  let rest = ''
  const send = (most: number): void => {
    const text = take(most)
    if (text === '') return
    underWay += text.split('POST /').length - 1
    socket.write(text)
  }
  return await new Promise((resolve, reject) => {
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      const text = rest + chunk
      let count = 0
      let end = 0
      for (let at = text.indexOf(CREATED); at !== -1; at = text.indexOf(CREATED, end)) {
        end = at + CREATED.length
        count++
      }
      // The beginning of an answer may be in this chunk, and its end in the next.
      rest = text.slice(Math.max(end, text.length - CREATED.length + 1))
      answered += count
      underWay -= count
      send(count)
      if (underWay === 0) socket.end()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(answered))
    send(depth)
    if (underWay === 0) socket.end()
  })
}

async function listenAs(kind: Kind): Promise<number> {
  const { config } = loadConfig({ path: null, env: {}, flags: {}, cwd: tmpdir() })
  const log = createLogger('warn')
  const authenticate = async (key: string) =>
    key === TOKEN ? ({ role: 'admin', userId: null, name: 'admin' } as const) : null
  const address = { host: '127.0.0.1', port: 0 }
  if (kind === 'lean') {
    const options = { config, level: 'settlements', authenticate, log, version: '0', faults: null } as const
    const service = await createMemoryWalletService(options)
    return Number(new URL(await service.listen(address)).port)
  }
  const assets = new Map(config.assets.map(asset => [asset.code, asset]))
  const wallet = createMemoryWallet({ assets, clock: systemClock(), feeUserId: config.settlement.feeUserId })
  const services = { wallet, assets }
  const app = createServer({
    authenticate,
    notReady: async () => [],
    log,
    version: '0',
    trades: null,
    wallet: services,
  })
  return Number(new URL(await app.listen(address)).port)
}

async function serve(kind: Kind): Promise<void> {
  process.on('message', () => {
    globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    process.send?.({ cpuUs: user + system, heapBytes: process.memoryUsage().heapUsed } satisfies Usage)
  })
  process.send?.(await listenAs(kind))
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      serve: { type: 'string' },
      calls: { type: 'string', default: '200000' },
      connections: { type: 'string', default: '4' },
      depth: { type: 'string', default: '64' },
    },
  })
  if (values.serve === 'lean' || values.serve === 'routes') await serve(values.serve)
  else {
    const result = await bench({ calls: +values.calls, connections: +values.connections, depth: +values.depth })
    process.stdout.write(`${JSON.stringify(result)}\n`)
  }
}
