/**
 * The feeds of markets and users, told by the desk of each batch once it is stored. Where the books are lost all of them
 * are over: something may have been stored that nobody was told, so whoever follows has to come again, and begins anew.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { Instruments } from '../../../core/instruments.ts'
import type { OrderDesk } from '../../../orders/desk.ts'
import type { MarketChanges } from '../../../orders/market-desk.ts'
import { eventText } from './event-text.ts'
import { createFeed, type Entry, type Feed } from './feed.ts'
import { marketEntries } from './market-events.ts'
import { tellUsers } from './user-events.ts'

/** A user's feed counts its own events; `tag` tells its numbers from those of one that is over. */
export interface UserFeed {
  readonly tag: string
  readonly feed: Feed
}

export interface Feeds {
  market(symbol: string): Feed
  user(userId: string): UserFeed
}

export interface FeedsOptions {
  readonly orders: Pick<OrderDesk, 'listen'>
  readonly instruments: Instruments
  readonly log: FastifyBaseLogger
}

/** What is kept for those who come back, in characters. */
const MARKET_LENGTH = 4 * 1024 * 1024
const USER_LENGTH = 64 * 1024
/** Users' feeds that are kept, of which those that nobody follows go first. */
const MOST_USERS = 1500

export function createFeeds({ orders, instruments, log }: FeedsOptions): Feeds {
  const markets = new Map<string, Feed>()
  const users = new Map<string, UserFeed>()

  function stored(changes: readonly MarketChanges[]): void {
    if (markets.size === 0 && users.size === 0) return
    try {
      for (const change of changes) tellMarket(change)
      if (users.size > 0) for (const change of changes) tellUsersOf(change)
    } catch (error) {
      // The batch is stored whatever becomes of the telling.
      log.error({ err: error }, 'what was stored can not be told; the streams begin anew')
      lost()
    }
  }

  function tellMarket(change: MarketChanges): void {
    const feed = markets.get(change.book.symbol)
    const [first] = change.events
    if (feed === undefined || first === undefined) return
    feed.push(marketEntries(change), first.sequence - 1, change.book.sequence)
  }

  function tellUsersOf(change: MarketChanges): void {
    const told = new Map<UserFeed, Entry[]>()
    tellUsers(
      change,
      instruments,
      userId => users.has(userId),
      (userId, name, data) => {
        const user = users.get(userId)
        if (user === undefined) return
        const entries = told.get(user) ?? []
        told.set(user, entries)
        const number = user.feed.lastId() + entries.length + 1
        entries.push({ seenFrom: number, text: eventText(name, `${user.tag}-${number}`, data) })
      },
    )
    for (const [{ feed }, entries] of told) feed.push(entries, feed.lastId(), feed.lastId() + entries.length)
  }

  function lost(): void {
    for (const feed of markets.values()) feed.end()
    for (const { feed } of users.values()) feed.end()
    markets.clear()
    users.clear()
  }

  function makeRoom(): void {
    if (users.size < MOST_USERS) return
    for (const [userId, { feed }] of users) {
      if (feed.isFollowed()) continue
      feed.end()
      users.delete(userId)
      return
    }
  }

  orders.listen({ stored, lost })
  return {
    market(symbol) {
      const feed = markets.get(symbol) ?? createFeed(MARKET_LENGTH)
      markets.set(symbol, feed)
      return feed
    },
    user(userId) {
      const known = users.get(userId)
      if (known === undefined) makeRoom()
      const user = known ?? { tag: randomBytes(6).toString('hex'), feed: createFeed(USER_LENGTH) }
      user.feed.beginAt(0)
      // The last in, so that the first is the one that was not asked for the longest.
      users.delete(userId)
      users.set(userId, user)
      return user
    },
  }
}
