import type { Connection, Database } from '../db.ts'
import { performChange, selectAuditLog, selectBulkRetry, selectRetryItems } from './admin-changes.ts'
import {
  countOpenLetters,
  lockLetter,
  lockOpenLetters,
  requeueLetters,
  resolveLetter,
  selectLetter,
  selectLetters,
} from './dead-letters.ts'
import type { InstrumentStore } from './instruments.ts'
import type { AdminChange, ChangeInHand, OperatorStore } from './operator-store.ts'
import { isPaused, selectStatus, setPaused } from './status.ts'

/** What operators see and change, on PostgreSQL; `instruments` may grow while it runs. */
export function createOperatorStore(database: Database, instruments: InstrumentStore): OperatorStore {
  return {
    letters: query => selectLetters(database, instruments, query),
    letter: tradeId => selectLetter(database, instruments, tradeId),
    countOpen: filter => countOpenLetters(database, filter),
    bulkRetry: id => selectBulkRetry(database, id),
    retryItems: (id, query) => selectRetryItems(database, id, query),
    auditLog: query => selectAuditLog(database, query),
    status: () => selectStatus(database),
    isPaused: () => isPaused(database),
    change: (change, work) =>
      performChange(database, change, connection => inHandOf(connection, instruments, change), work),
  }
}

function inHandOf(connection: Connection, instruments: InstrumentStore, { actor, atMs }: AdminChange): ChangeInHand {
  return {
    lock: tradeId => lockLetter(connection, instruments, tradeId),
    lockOpen: (filter, after, limit) => lockOpenLetters(connection, instruments, filter, after, limit),
    requeue: requeued => requeueLetters(connection, requeued, actor, atMs),
    resolve: resolved => resolveLetter(connection, instruments, resolved, actor, atMs),
    setPaused: paused => setPaused(connection, paused),
  }
}
