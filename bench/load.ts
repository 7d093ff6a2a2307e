/** A server of Legwork as a process of its own, and callers who wait for its answers. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface Timed {
  readonly per_second: number
  /** Of one call. */
  readonly p50_ms: number
  readonly p99_ms: number
}

const LEGWORK = new URL('../bin/legwork', import.meta.url).pathname
export const TOKEN = 'a-key-for-the-benchmark'

/** Starts it on a free port, and ends it when the work is done. */
export async function onServer<Result>(
  args: readonly string[],
  work: (url: string) => Promise<Result>,
): Promise<Result> {
  const child = spawn(LEGWORK, [...args, '--port', '0', '--json'], {
    env: { ...process.env, LEGWORK_ADMIN_TOKEN: TOKEN },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    return await work(await readyUrl(child))
  } finally {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
}

async function readyUrl({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('the server has no output')
  for await (const line of createInterface({ input: stdout })) return JSON.parse(line).url
  throw new Error('the server ended before it was ready')
}

/** Calls by so many callers, each of which waits for its answer. */
export async function timed(calls: number, callers: number, call: (at: number) => Promise<unknown>): Promise<Timed> {
  const took: number[] = []
  let next = 0
  const caller = async (): Promise<void> => {
    for (let at = next++; at < calls; at = next++) {
      const began = performance.now()
      await call(at)
      took.push(performance.now() - began)
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: callers }, caller))
  const seconds = (performance.now() - began) / 1000
  took.sort((a, b) => a - b)
  const percentile = (share: number): number => Math.round((took[Math.floor((took.length - 1) * share)] ?? 0) * 10) / 10
  return { per_second: Math.round(calls / seconds), p50_ms: percentile(0.5), p99_ms: percentile(0.99) }
}

/** The same where each call carries many. */
export function carrying({ per_second, ...rest }: Timed, many: number): Timed {
  return { per_second: per_second * many, ...rest }
}

/** A whole number that looks random (the finaliser of MurmurHash3, which is in the public domain). */
export function mixed(at: number): number {
  const first = Math.imul(at ^ (at >>> 16), 0x85ebca6b)
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35)
  return (second ^ (second >>> 16)) >>> 0
}

export function userAt(number: number): string {
  const hex = number.toString(16).padStart(32, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
