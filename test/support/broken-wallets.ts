/**
 * Wallets that break the protocol, each in one way: the memory wallet with one answer, or one habit, changed. They stand
 * behind our own server, or behind one that changes what goes in and out.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import type { InjectOptions } from 'fastify'
import type { App } from '../../src/api/app.ts'
import { createServer } from '../../src/api/server.ts'
import { systemClock } from '../../src/clock.ts'
import { createLogger } from '../../src/log.ts'
import { createMemoryWallet } from '../../src/wallet/memory-wallet.ts'
import { changeOf, settlementFault } from '../../src/wallet/protocol.ts'
import type {
  BookedWallet,
  Operation,
  OperationDone,
  Outcome,
  SettlementCall,
  WalletLevel,
} from '../../src/wallet/wallet.ts'
import { authenticate } from './api.ts'
import { ASSETS, FEES } from './trades.ts'

interface Passing {
  readonly path: string
  readonly status: number
  readonly type: string
  readonly body: string
}

/** What a wallet does otherwise than the right one. */
type Habit = (right: BookedWallet) => Partial<BookedWallet>

export interface Wrong {
  readonly wallet?: Habit
  /** What goes in otherwise. */
  readonly takes?: (body: string) => string
  /** What comes out otherwise. */
  readonly says?: (answer: Passing) => Partial<Passing>
  /** Whom it lets in. */
  readonly authenticate?: typeof authenticate
}

export interface OpenWallet {
  readonly url: string
  close(): Promise<void>
}

/** The token it takes, unless it takes any. */
export const TOKEN = 'admin-key'

/** The memory wallet behind our server, with what is wrong with it. */
export async function openWallet(level: WalletLevel, wrong: Wrong = {}): Promise<OpenWallet> {
  const right = createMemoryWallet({ assets: ASSETS, clock: systemClock(), feeUserId: FEES, level })
  const app = createServer({
    ...{ log: createLogger('silent'), version: '0', trades: null, notReady: async () => [] },
    authenticate: wrong.authenticate ?? authenticate,
    wallet: { wallet: { ...right, ...wrong.wallet?.(right) }, assets: ASSETS },
  })
  if (wrong.takes === undefined && wrong.says === undefined) {
    return { url: await app.listen({ host: '127.0.0.1', port: 0 }), close: () => app.close() }
  }
  return await openBehind(app, wrong)
}

async function openBehind(app: App, { takes = body => body, says = () => ({}) }: Wrong): Promise<OpenWallet> {
  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const { method = 'GET', url: path = '/', headers } = request
    const { 'content-length': _, ...kept } = headers
    const answer = await app.inject({
      ...{ method: method as NonNullable<InjectOptions['method']>, url: path, headers: kept },
      payload: takes(Buffer.concat(pieces).toString()),
    })
    const type = String(answer.headers['content-type'])
    const passing = { path, status: answer.statusCode, type, body: answer.payload }
    const said = { ...passing, ...says(passing) }
    response.writeHead(said.status, { 'content-type': said.type }).end(said.body)
  }

  const server = createHttpServer((request, response) => {
    pass(request, response).catch(() => response.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise<void>(resolve => server.close(() => resolve()))
      await app.close()
    },
  }
}

type Done = Outcome<OperationDone>

const SHORT = { outcome: 'refused', code: 'INSUFFICIENT_BALANCE', detail: 'not enough' } as const

/** Does every debit, credit and settlement as if its key were a new one. */
export const forgetsKeys: Habit = right => {
  const last = new Map<string, string>()
  let made = 0
  const fresh = (key: string): string => {
    const inner = `forgotten ${++made}`
    last.set(key, inner)
    return inner
  }
  return {
    apply: operation => right.apply({ ...operation, key: fresh(operation.key) }),
    settle: settlement => right.settle({ ...settlement, key: fresh(settlement.key) }),
    reverse: key => right.reverse(last.get(key) ?? key),
    keyRecord: async key => {
      const record = await right.keyRecord(last.get(key) ?? key)
      return record === null ? null : { ...record, key }
    },
    entries: async query => {
      const known = new Map([...last].map(([key, inner]) => [inner, key]))
      return (await right.entries(query)).map(entry => ({ ...entry, key: known.get(entry.key) ?? entry.key }))
    },
  }
}

/** Says of a key it has not seen that it is cancelled, and forgets that. */
export const takesLateOriginals: Habit = right => ({
  reverse: async key =>
    (await right.keyRecord(key)) === null
      ? { outcome: 'applied', replayed: false, done: { status: 'cancelled' } }
      : await right.reverse(key),
})

/** Answers a key that it has seen as the first time, whatever the content. */
export const replaysOtherContent: Habit = right => ({
  apply: async operation => {
    const outcome = await right.apply(operation)
    const record = outcome.outcome === 'fault' ? await right.keyRecord(operation.key) : null
    if (record === null) return outcome
    const done = { balanceAfter: record.balanceAfter ?? 0n, appliedAtMs: record.atMs }
    return record.status === 'refused' ? SHORT : { outcome: 'applied', replayed: true, done }
  },
  settle: async settlement => {
    const outcome = await right.settle(settlement)
    return outcome.outcome === 'fault' ? { outcome: 'applied', replayed: true, done: null } : outcome
  },
})

/** Leaves what it has done of a settlement when a later leg is refused. */
export const settlesInHalf: Habit = right => ({
  settle: async settlement => {
    const isNew = (await right.keyRecord(settlement.key)) === null
    const outcome = await right.settle(settlement)
    if (outcome.outcome !== 'refused' || outcome.code !== 'INSUFFICIENT_BALANCE' || !isNew) return outcome
    for (const [index, leg] of settlement.legs.entries()) {
      const { key, tradeId } = settlement
      const done = await right.apply({ ...leg, key: `${key}#${index}`, tradeId })
      if (done.outcome !== 'applied') break
    }
    return outcome
  },
})

/** Does what arrives together in the order of the keys' ends, which is not that of the call. */
export const mixesUpOrder: Habit = right => {
  let waiting: (() => void)[] = []
  return {
    apply: operation =>
      new Promise(resolve => {
        waiting.push(() => resolve(right.apply(operation)))
        if (waiting.length > 1) return
        void turn().then(() => {
          const all = waiting.toReversed()
          waiting = []
          for (const each of all) each()
        })
      }),
  }
}

/** Looks whether there is enough, and takes it later. */
export const overdraws: Habit = right => {
  const owed = new Map<string, bigint>()
  const nameOf = (userId: string, currency: string): string => `${userId} ${currency}`
  return {
    apply: async operation => {
      const { userId, currency, type, amount } = operation
      const before = await right.balance(userId, currency)
      const isFirst = (await right.keyRecord(operation.key)) === null
      await turn()
      const outcome = await right.apply(operation)
      const hadEnough = isFirst && type === 'debit' && before !== null && before.available >= amount
      if (outcome.outcome !== 'refused' || !hadEnough || outcome.code !== 'INSUFFICIENT_BALANCE') return outcome
      const name = nameOf(userId, currency)
      owed.set(name, (owed.get(name) ?? 0n) + amount)
      const now = await right.balance(userId, currency)
      const balanceAfter = (now?.total ?? 0n) - (owed.get(name) ?? 0n)
      return { outcome: 'applied', replayed: false, done: { balanceAfter, appliedAtMs: 0 } }
    },
    balance: async (userId, currency) => {
      const balance = await right.balance(userId, currency)
      const debt = owed.get(nameOf(userId, currency)) ?? 0n
      return balance === null ? null : { ...balance, available: balance.available - debt, total: balance.total - debt }
    },
  }
}

/** Looks whether it has seen the key, and does the call later. */
export const looksThenDoes: Habit = right => {
  let made = 0
  return {
    apply: async operation => {
      const seen = await right.keyRecord(operation.key)
      await turn()
      const outcome = await right.apply(operation)
      const isRepeated = outcome.outcome === 'applied' && outcome.replayed && seen === null
      return isRepeated ? await right.apply({ ...operation, key: `again ${++made}` }) : outcome
    },
  }
}

/** Changes what is answered to a debit or credit that was done. */
export function tellsOtherwise(change: (done: OperationDone, operation: Operation) => OperationDone): Habit {
  return right => ({
    apply: async (operation): Promise<Done> => {
      const outcome = await right.apply(operation)
      return outcome.outcome === 'applied' ? { ...outcome, done: change(outcome.done, operation) } : outcome
    },
  })
}

export const tellsTotalBefore: Habit = tellsOtherwise((done, operation) => ({
  ...done,
  balanceAfter: done.balanceAfter - changeOf(operation),
}))

/** Tries again what it has refused before. */
export const forgetsRefusals: Habit = right => {
  const tries = new Map<string, number>()
  const innerOf = (key: string): string => (tries.has(key) ? `${key}~${tries.get(key)}` : key)
  const noted = <Some extends Outcome>(key: string, outcome: Some): Some => {
    const isForgotten = outcome.outcome === 'refused' && outcome.code === 'INSUFFICIENT_BALANCE'
    if (isForgotten) tries.set(key, (tries.get(key) ?? 0) + 1)
    return outcome
  }
  return {
    apply: async operation => noted(operation.key, await right.apply({ ...operation, key: innerOf(operation.key) })),
    settle: async settlement =>
      noted(settlement.key, await right.settle({ ...settlement, key: innerOf(settlement.key) })),
    reverse: key => right.reverse(innerOf(key)),
  }
}

/** Checks the legs of a settlement one after the other, not their sum. */
export const checksLegByLeg: Habit = right => ({
  settle: async settlement => {
    const isFirst = settlementFault(settlement) === null && (await right.keyRecord(settlement.key)) === null
    const changes = new Map<string, bigint>()
    for (const leg of settlement.legs) {
      const name = `${leg.userId} ${leg.currency}`
      const change = (changes.get(name) ?? 0n) + changeOf(leg)
      changes.set(name, change)
      const balance = await right.balance(leg.userId, leg.currency)
      if (isFirst && balance !== null && balance.total + change < 0n) return SHORT
    }
    return await right.settle(settlement)
  },
})

/** Undoes the first leg of a settlement alone. */
export const undoesOneLeg: Habit = right => {
  const settlements = new Map<string, SettlementCall>()
  return {
    settle: async settlement => {
      settlements.set(settlement.key, settlement)
      return await right.settle(settlement)
    },
    reverse: async key => {
      const outcome = await right.reverse(key)
      const { legs = [], tradeId = null } = settlements.get(key) ?? {}
      const isUndone = outcome.outcome === 'applied' && outcome.done.status === 'reversed' && !outcome.replayed
      for (const [index, leg] of isUndone ? legs.entries() : []) {
        if (index > 0) await right.apply({ ...leg, key: `${key}#${index}`, tradeId })
      }
      return outcome
    },
  }
}

/** Gives the answer to a reversal that it has refused once for ever. */
export const remembersRefusedReversals: Habit = right => {
  const refused = new Map<string, Awaited<ReturnType<BookedWallet['reverse']>>>()
  return {
    reverse: async key => {
      const outcome = refused.get(key) ?? (await right.reverse(key))
      if (outcome.outcome === 'refused') refused.set(key, outcome)
      return outcome
    },
  }
}
