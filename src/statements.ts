/**
 * Statements that go to the database together, and come back as one answer: of the ways between, each a wait for both sides,
 * one is left. They are done in their order, and none after one that fails. Outside of a transaction all of them are one.
 *
 * That is the protocol's pipeline (PostgreSQL, "Message Flow", 54.2.4): what comes before the one Sync at its end is an implicit
 * transaction, and is skipped from the first failure on. The driver's own pipelining ends each statement with a Sync of its
 * own, so that those behind a `begin` that fails would be done, and kept, one by one.
 */
import type pg from 'pg'

export interface Statement {
  /** It is prepared under it, once a connection: of one name the text is always the same. */
  readonly name: string
  readonly text: string
  readonly values: readonly (string | number | bigint | boolean | Date | null)[]
}

/** What a statement fails with that finds other than it expects: see `expect_count` in the migrations. */
export const UNEXPECTED_COUNT = 'LW001'
/** And one that writes what there already is. */
export const UNIQUE_VIOLATION = '23505'

/** Throws what the first that failed says. What they select is not answered: what must be so they see to themselves. */
export function runStatements(connection: pg.ClientBase, statements: readonly Statement[]): Promise<void> {
  if (statements.length === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    connection.query(new Batch(statements, error => (error === null ? resolve() : reject(error))))
  })
}

/** Which names are prepared on a connection. */
const prepared = new WeakMap<pg.Connection, Set<string>>()

/** As the driver wants it of a query that sends itself; it calls the handlers as answers come in. */
class Batch implements pg.Submittable {
  readonly #statements: readonly Statement[]
  /** Called once. */
  readonly #end: (error: Error | null) => void
  #known: Set<string> = new Set()
  #done = 0

  constructor(statements: readonly Statement[], end: (error: Error | null) => void) {
    this.#statements = statements
    this.#end = end
  }

  submit(connection: pg.Connection): void {
    this.#known = prepared.get(connection) ?? new Set()
    prepared.set(connection, this.#known)
    const wire = connection as unknown as Wire
    // In one write: each would be a system call, and wake the database up, by itself.
    wire.stream.cork()
    try {
      for (const { name, text, values } of this.#statements) {
        const statement = `statements ${name}`
        if (!this.#known.has(name)) {
          // It may be there from a batch that failed; to close one that is not is no error.
          wire.close({ type: 'S', name: statement })
          wire.parse({ name: statement, text })
        }
        wire.bind({ statement, values: values.map(textOf) })
        wire.execute()
      }
      wire.sync()
    } finally {
      wire.stream.uncork()
    }
  }

  handleCommandComplete(): void {
    const done = this.#statements[this.#done++]
    if (done !== undefined) this.#known.add(done.name)
  }

  handleReadyForQuery(): void {
    this.#end(null)
  }

  handleError(error: Error): void {
    Error.captureStackTrace(error)
    this.#end(error)
  }

  // What is selected is left alone.
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyInResponse(connection: { sendCopyFail(why: string): void }): void {
    connection.sendCopyFail('nothing is copied in')
  }
  handleCopyData(): void {}
}

/** What the driver's connection sends; its published types are of an older one. */
interface Wire {
  readonly stream: pg.Connection['stream']
  parse(of: { readonly name: string; readonly text: string }): void
  bind(of: { readonly statement: string; readonly values: readonly (string | null)[] }): void
  execute(): void
  close(of: { readonly type: 'S'; readonly name: string }): void
  sync(): void
}

function textOf(value: Statement['values'][number]): string | null {
  if (value === null) return null
  return value instanceof Date ? value.toISOString() : String(value)
}
