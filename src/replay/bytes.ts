import { type FileHandle, open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { TradeFileError } from './trade-file-error.ts'

const PIECE_BYTES = 64 * 1024
/** Deflate packs at most about 1 to 1030, so the output of one piece stays below 33 MiB even for a bomb. */
const GZIP_PIECE_BYTES = 32 * 1024

/** Compressed data that ends too early or is damaged; thrown after everything that came out of it. */
export class GzipCut extends Error {
  override readonly name = 'GzipCut'
}

/**
 * The text of a file as bytes, unpacked when its first two bytes say gzip, whatever its name; several members in one
 * file are one text. The memory held does not depend on the file's length.
 *
 * Throws `TradeFileError` with `FILE_NOT_FOUND` or `FILE_UNREADABLE`, and `GzipCut` at the end of what can be unpacked.
 */
export async function* readText(path: string): AsyncGenerator<Buffer, void, undefined> {
  const file = await openFile(path)
  try {
    const magic = await pieceAt(file, 0, 4)
    if (magic.toString('latin1') === 'PK\x03\x04') {
      throw new TradeFileError('FILE_UNREADABLE', path, `${path} is a zip archive: unpack it first.`)
    }
    yield* magic[0] === 0x1f && magic[1] === 0x8b ? unpacked(file) : pieces(file, 0, Infinity, PIECE_BYTES)
  } catch (error) {
    throw isSystemError(error) ? unreadable(path, error) : error
  } finally {
    await file.close()
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // Asked before opening, since opening a named pipe waits for a writer; and the file is read twice, a pipe can't be.
    const found = await stat(path)
    if (!found.isFile()) {
      const what = found.isDirectory() ? 'a directory' : 'not a regular file'
      throw new TradeFileError('FILE_UNREADABLE', path, `${path} is ${what}.`)
    }
    return await open(path, 'r')
  } catch (error) {
    if (!isSystemError(error)) throw error
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw unreadable(path, error)
    throw new TradeFileError('FILE_NOT_FOUND', path, `There is no file ${path}.`, error)
  }
}

function unreadable(path: string, error: NodeJS.ErrnoException): TradeFileError {
  return new TradeFileError('FILE_UNREADABLE', path, `${path} can't be read (${error.code}).`, error)
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}

async function* pieces(file: FileHandle, from: number, to: number, bytes: number): AsyncGenerator<Buffer, void> {
  for (let at = from; at < to; ) {
    const piece = await pieceAt(file, at, Math.min(bytes, to - at))
    if (piece.length === 0) return
    yield piece
    at += piece.length
  }
}

async function pieceAt(file: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(bytes), 0, bytes, at)
  return buffer.subarray(0, bytesRead)
}

async function* unpacked(file: FileHandle): AsyncGenerator<Buffer, void> {
  const unpacker = createUnpacker()
  let at = 0
  try {
    for await (const piece of pieces(file, 0, Infinity, GZIP_PIECE_BYTES)) {
      yield* await unpacker.take(piece)
      at += piece.length
    }
    yield* await unpacker.end()
  } catch (error) {
    if (!isZlibError(error)) throw error
    if (error.code === 'Z_BUF_ERROR') throw new GzipCut('its compressed data ends too early', { cause: error })
    yield* unpackedUpToDamage(file, at)
    throw new GzipCut('its compressed data is damaged', { cause: error })
  } finally {
    unpacker.close()
  }
}

/**
 * What the piece at an offset gives before its damage. zlib drops all output of the write that fails, so the file is
 * unpacked anew up to this piece, and the piece then byte by byte.
 */
async function* unpackedUpToDamage(file: FileHandle, at: number): AsyncGenerator<Buffer, void> {
  const unpacker = createUnpacker()
  try {
    for await (const piece of pieces(file, 0, at, GZIP_PIECE_BYTES)) await unpacker.take(piece)
    for (const byte of await pieceAt(file, at, GZIP_PIECE_BYTES)) yield* await unpacker.take(Buffer.of(byte))
  } catch (error) {
    if (!isZlibError(error)) throw error
  } finally {
    unpacker.close()
  }
}

interface Unpacker {
  /** All that the file up to and with these bytes unpacks to and was not given yet. */
  readonly take: (piece: Buffer) => Promise<readonly Buffer[]>
  /** What is left; fails when the compressed data is not complete. */
  readonly end: () => Promise<readonly Buffer[]>
  readonly close: () => void
}

/**
 * Unpacks piece by piece. `pipe` would not do: a stream that fails drops the output it still holds, and what is
 * readable of a cut file would depend on timing.
 */
function createUnpacker(): Unpacker {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES })
  let out: Buffer[] = []
  const collect = (): void => {
    for (let bytes: unknown = gunzip.read(); bytes instanceof Buffer; bytes = gunzip.read()) out.push(bytes)
  }
  const drain = (): readonly Buffer[] => {
    collect()
    const drained = out
    out = []
    return drained
  }
  // A full buffer has to be emptied while a piece is under way, or the piece would never be done.
  gunzip.on('readable', collect)
  // The callback of a write that fails is never called; its error arrives only as an event.
  let fail: (error: Error) => void = () => {}
  gunzip.on('error', error => fail(error))

  const take = (piece: Buffer): Promise<readonly Buffer[]> =>
    new Promise((resolve, reject) => {
      fail = reject
      gunzip.write(piece, error => (error ? reject(error) : resolve(drain())))
    })

  const end = (): Promise<readonly Buffer[]> =>
    new Promise((resolve, reject) => {
      fail = reject
      // It has ended by itself when zeros follow the last member.
      if (gunzip.readableEnded) resolve(drain())
      gunzip.once('end', () => resolve(drain()))
      gunzip.end()
    })

  return { take, end, close: () => gunzip.destroy() }
}

function isZlibError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_')
}
