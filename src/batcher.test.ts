import { describe, expect, test } from 'vitest'
import { createBatcher, type Lanes } from './batcher.ts'

/** A batcher whose batches end when the test says so. */
function heldBatcher(max: number, lanes?: Lanes) {
  const batches: { readonly items: readonly number[]; readonly end: (results?: readonly number[]) => void }[] = []
  const batcher = createBatcher<number, number>(
    items =>
      new Promise(resolve => {
        batches.push({ items, end: (results = items.map(item => item * 10)) => resolve(results) })
      }),
    max,
    lanes,
  )
  return { batcher, batches }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

async function ended(batches: readonly { readonly end: () => void }[], at: number): Promise<void> {
  batches[at]?.end()
  await turn()
}

test('at low load a call leaves at once and alone; what comes in the same moment goes with it', async () => {
  const { batcher, batches } = heldBatcher(100)
  const results = [batcher.add(1), Promise.resolve().then(() => batcher.add(2))]
  await turn()
  expect(batches.map(batch => batch.items)).toEqual([[1, 2]])
  batches[0]?.end()
  expect(await Promise.all(results)).toEqual([10, 20])
})

test('at high load a batch is what came while one was under way', async () => {
  const { batcher, batches } = heldBatcher(100)
  const results = [batcher.add(1)]
  await turn()
  for (const item of [2, 3, 4]) results.push(batcher.add(item))
  await turn()
  expect(batches).toHaveLength(1)
  await ended(batches, 0)
  expect(batches.map(batch => batch.items)).toEqual([[1], [2, 3, 4]])
  await ended(batches, 1)
  expect(await Promise.all(results)).toEqual([10, 20, 30, 40])
})

test('a batch holds no more than its most, and nothing is left behind', async () => {
  const { batcher, batches } = heldBatcher(3)
  const results = Promise.all(Array.from({ length: 8 }, (_, at) => batcher.add(at)))
  await turn()
  for (const at of [0, 1, 2]) await ended(batches, at)
  expect(batches.map(batch => batch.items)).toEqual([
    [0, 1, 2],
    [3, 4, 5],
    [6, 7],
  ])
  expect(await results).toEqual([0, 10, 20, 30, 40, 50, 60, 70])
})

test('what waits is shared out among the free lanes, into batches that are not too small', async () => {
  const { batcher, batches } = heldBatcher(8, { count: 3, least: 2 })
  const add = (count: number): void => {
    for (let item = 0; item < count; item++) void batcher.add(item)
  }
  add(7)
  await turn()
  const sizes = (): readonly number[] => batches.map(({ items }) => items.length)
  expect(sizes()).toEqual([3, 2, 2])
  add(20)
  await ended(batches, 1)
  expect(sizes().slice(3)).toEqual([8])
  await ended(batches, 2)
  expect(sizes().slice(4)).toEqual([8])
  await ended(batches, 0)
  await ended(batches, 3)
  expect(sizes().slice(5)).toEqual([4])
  add(3)
  await turn()
  expect(sizes().slice(6)).toEqual([3])
})

test('as many batches as there are lanes are under way at the same time', async () => {
  const { batcher, batches } = heldBatcher(1, { count: 2 })
  const results = Promise.all([1, 2, 3].map(item => batcher.add(item)))
  await turn()
  expect(batches).toHaveLength(2)
  await ended(batches, 1)
  expect(batches).toHaveLength(3)
  await ended(batches, 0)
  await ended(batches, 2)
  expect(await results).toEqual([10, 20, 30])
})

test('a batch leaves beside another once so many wait, and what is left when all lanes are free leaves at once', async () => {
  const { batcher, batches } = heldBatcher(4, { count: 2, beside: 3 })
  const add = (count: number): void => {
    for (let item = 0; item < count; item++) void batcher.add(item)
  }
  const sizes = (): readonly number[] => batches.map(({ items }) => items.length)
  add(1)
  await turn()
  add(2)
  await turn()
  expect(sizes()).toEqual([1])
  add(1)
  await turn()
  expect(sizes()).toEqual([1, 3])
  add(6)
  await turn()
  await ended(batches, 0)
  expect(sizes()).toEqual([1, 3, 4])
  await ended(batches, 1)
  expect(sizes()).toEqual([1, 3, 4])
  await ended(batches, 2)
  expect(sizes()).toEqual([1, 3, 4, 2])
})

describe('what goes wrong', () => {
  test('a batch that fails, fails for all that were in it, and for nobody else', async () => {
    let calls = 0
    const batcher = createBatcher<number, number>(async items => {
      if (calls++ === 0) throw new Error('away')
      return [...items]
    }, 100)
    const first = Promise.allSettled([batcher.add(1), batcher.add(2)])
    expect((await first).map(result => result.status)).toEqual(['rejected', 'rejected'])
    expect(await batcher.add(3)).toBe(3)
  })

  test('a batch that answers with another number of results is a bug, and nobody is told a neighbour’s result', async () => {
    const { batcher, batches } = heldBatcher(100)
    const results = Promise.allSettled([batcher.add(1), batcher.add(2)])
    await turn()
    batches[0]?.end([10])
    for (const result of await results) expect(result).toMatchObject({ status: 'rejected' })
  })

  test('a run that throws before it begins is a batch that fails', async () => {
    const batcher = createBatcher<number, number>(() => {
      throw new Error('at once')
    }, 100)
    await expect(batcher.add(1)).rejects.toThrow('at once')
    await batcher.idle()
  })
})

test('idle is when nothing is waiting or under way', async () => {
  const { batcher, batches } = heldBatcher(1)
  await batcher.idle()
  const results = Promise.all([batcher.add(1), batcher.add(2)])
  let isIdle = false
  const idle = batcher.idle().then(() => {
    isIdle = true
  })
  await turn()
  await ended(batches, 0)
  expect(isIdle).toBe(false)
  await ended(batches, 1)
  await idle
  expect(await results).toEqual([10, 20])
})
