import { type FileHandle, open, rename, stat } from 'node:fs/promises'
import { codeOf } from './errors.ts'

/** A log is put aside (as `<name>.1`, in place of the one before) at the first start that finds it larger. */
const LOG_LIMIT_BYTES = 10 * 1024 * 1024
const TAIL_LINES = 8
const TAIL_BYTES = 4096

/** The file a server writes its messages to. */
export interface ServerLog {
  readonly path: string
  /** Opens the file for a server to append to; the last lines are counted from here. */
  open(): Promise<FileHandle>
  /** The last lines since `open`, or of the whole file when it was not called; empty when it cannot be read. */
  lastLines(): Promise<string>
}

/** The log at this path; the file need not exist. */
export function serverLog(path: string): ServerLog {
  let from = 0
  return {
    path,
    open: async () => {
      if ((await sizeOf(path)) > LOG_LIMIT_BYTES) await rename(path, `${path}.1`)
      from = await sizeOf(path)
      return await open(path, 'a', 0o600)
    },
    lastLines: async () => await lastLines(path, from).catch(() => ''),
  }
}

async function lastLines(path: string, from: number): Promise<string> {
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  const start = Math.max(from, size - TAIL_BYTES)
  const buffer = Buffer.alloc(Math.max(0, size - start))
  const { bytesRead } = await file.read(buffer, 0, buffer.length, start)
  const lines = buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n')
  return lines.slice(-TAIL_LINES).join('\n')
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0
    throw error
  }
}
