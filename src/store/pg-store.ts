import type { Database } from '../db.ts'
import type { InstrumentStore } from './instruments.ts'
import { claimDue, expireLeases, nextDueMs, recordSettlements, releaseLeases, renewLeases } from './settlements.ts'
import type { Store } from './store.ts'
import { recordTrades, selectStatuses, selectTrade, selectTrades } from './trades.ts'

/** The store on PostgreSQL; `instruments` may grow while it runs, here or in another process. */
export function createStore(database: Database, instruments: InstrumentStore): Store {
  return {
    recordTrades: (intake, nowMs) => recordTrades(database, instruments, intake, nowMs),
    claim: (lease, limit, nowMs) => claimDue(database, instruments, lease, limit, nowMs),
    record: (owner, records) => recordSettlements(database, owner, records),
    renew: (lease, held) => renewLeases(database, lease, held),
    release: (owner, held, nowMs) => releaseLeases(database, owner, held, nowMs),
    expireLeases: nowMs => expireLeases(database, nowMs),
    nextDueMs: () => nextDueMs(database),
    trade: id => selectTrade(database, instruments, id),
    statuses: ids => selectStatuses(database, ids),
    trades: query => selectTrades(database, instruments, query),
  }
}
