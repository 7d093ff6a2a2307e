import { describe, expect, test } from 'vitest'
import { type IdBlock, NoLongerLeadingError } from '../store/order-store.ts'
import { createUuidV7Source, uuidAfter } from '../uuid.ts'
import { createOrderIds, type OrderIds } from './order-ids.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Blocks are as the store has them. */
function reserving(): { readonly ids: OrderIds; readonly blocks: Map<string, IdBlock>; fails: boolean } {
  const blocks = new Map<string, IdBlock>()
  const made = {
    blocks,
    fails: false,
    ids: createOrderIds({
      leadership: { token: 1n, end: async () => {} },
      newId: createUuidV7Source({ now: () => 1_700_000_000_000 }),
      store: {
        reserveIds: async (_, block) => {
          if (made.fails) throw new Error('the database is away')
          blocks.set(block.first, block)
        },
        forgetIds: async firsts => {
          for (const first of firsts) blocks.delete(first)
        },
      },
    }),
  }
  return made
}

async function take(ids: OrderIds, count: number): Promise<readonly string[]> {
  const taken: string[] = []
  for (let at = 0; at < count; at++) taken.push(await ids.next())
  return taken
}

function isIn({ first, size }: IdBlock, id: string): boolean {
  return first <= id && id <= uuidAfter(first, size - 1)
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('ids of orders', () => {
  test('are UUIDs that differ, sort in the order they were given, and were reserved before', async () => {
    const { ids, blocks } = reserving()
    const taken: string[] = []
    for (let at = 0; at < 5000; at++) {
      const id = await ids.next()
      expect([...blocks.values()].filter(block => isIn(block, id))).toHaveLength(1)
      taken.push(id)
    }
    expect(taken.every(id => UUID.test(id))).toBe(true)
    expect(new Set(taken).size).toBe(5000)
    expect(taken.toSorted()).toEqual(taken)
  })

  test('are given once, however many are asked for at once', async () => {
    const { ids } = reserving()
    const taken = await Promise.all(Array.from({ length: 5000 }, async () => await ids.next()))
    expect(new Set(taken).size).toBe(5000)
  })

  test('are forgotten by blocks, once each of them is decided', async () => {
    const { ids, blocks } = reserving()
    const taken = await take(ids, 2500)
    const [first] = [...blocks.values()] as [IdBlock]
    const ofFirst = taken.filter(id => isIn(first, id))
    for (const id of ofFirst.slice(1)) ids.decided(id)
    await turn()
    expect(blocks.has(first.first)).toBe(true)
    ids.decided(ofFirst[0] as string)
    await turn()
    expect(blocks.has(first.first)).toBe(false)
  })

  test('that are not decided are there for whoever comes next; all others are forgotten in the end', async () => {
    const { ids, blocks } = reserving()
    const [open, ...others] = (await take(ids, 3000)) as [string, ...string[]]
    for (const id of others) ids.decided(id)
    await ids.close()
    expect([...blocks.values()].map(block => isIn(block, open))).toEqual([true])
    // By now somebody else may be looking at it.
    ids.decided(open)
    await turn()
    expect(blocks.size).toBe(1)
  })

  test('are given no more once the books are given up, also to who has waited for one', async () => {
    const { ids, blocks } = reserving()
    const waiting = ids.next()
    const closed = ids.close()
    await expect(waiting).rejects.toThrow(NoLongerLeadingError)
    await closed
    await expect(async () => await ids.next()).rejects.toThrow(NoLongerLeadingError)
    expect(blocks.size).toBe(0)
  })

  test('are not given where they can not be reserved, and are again once they can', async () => {
    const made = reserving()
    made.fails = true
    await expect(async () => await made.ids.next()).rejects.toThrow('the database is away')
    made.fails = false
    expect(await made.ids.next()).toMatch(UUID)
  })

  test('run on while the next block can not be reserved, as far as they go', async () => {
    const made = reserving()
    const [block] = [await made.ids.next()]
    made.fails = true
    expect(await take(made.ids, 1023)).toHaveLength(1023)
    await expect(async () => await made.ids.next()).rejects.toThrow('the database is away')
    made.fails = false
    expect((await made.ids.next()) > block).toBe(true)
  })
})
