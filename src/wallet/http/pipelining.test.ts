import { expect, test } from 'vitest'
import { createPipelining, type Pipelining } from './pipelining.ts'

function proved(told: string[] = []): Pipelining {
  const pipelining = createPipelining(128, why => told.push(why))
  pipelining.proved()
  return pipelining
}

function answers(pipelining: Pipelining, count: number): void {
  for (let at = 0; at < count; at++) pipelining.answered()
}

test('requests share a connection two at a time until the server has proved that it keeps their order', () => {
  const pipelining = createPipelining(128, () => {})
  expect(pipelining.depth(0)).toBe(2)
  pipelining.proved()
  expect(pipelining.depth(0)).toBe(128)
})

test('each loss of requests behind another halves the depth, down to one at a time', () => {
  const pipelining = proved()
  const depths = Array.from({ length: 9 }, (_, at) => {
    pipelining.lostBehind(at * 100)
    return pipelining.depth(at * 100)
  })
  expect(depths).toEqual([64, 32, 16, 8, 4, 2, 1, 1, 1])
})

test('connections that end at the same time are one loss: a wallet restarted', () => {
  const pipelining = proved()
  for (let connection = 0; connection < 64; connection++) pipelining.lostBehind(1000 + connection)
  expect(pipelining.depth(1100)).toBe(64)
})

test('answers bring the depth back, the sooner the smaller it is; a loss in between begins the count anew', () => {
  const pipelining = proved()
  for (let loss = 0; loss < 7; loss++) pipelining.lostBehind(loss * 100)
  answers(pipelining, 31)
  expect(pipelining.depth(1000)).toBe(1)
  answers(pipelining, 1)
  expect(pipelining.depth(1000)).toBe(2)
  answers(pipelining, 63)
  pipelining.lostBehind(1000)
  answers(pipelining, 31)
  expect(pipelining.depth(1000)).toBe(1)
  answers(pipelining, 1 + 32 * (2 + 4 + 8 + 16 + 32 + 64))
  expect(pipelining.depth(1000)).toBe(128)
  answers(pipelining, 10_000)
  expect(pipelining.depth(1000)).toBe(128)
})

test('three connections that end in a row before any has proved itself mean one request at a time for a minute', () => {
  const told: string[] = []
  const pipelining = proved(told)
  for (let strike = 0; strike < 3; strike++) pipelining.struck(1000)
  expect([pipelining.depth(1000), pipelining.depth(60_999), pipelining.depth(61_000)]).toEqual([1, 1, 2])
  pipelining.proved()
  expect(pipelining.depth(61_000)).toBe(128)
  expect(told).toEqual(['ended'])
})

test('an answer to another request means one at a time for good, whatever comes after', () => {
  const told: string[] = []
  const pipelining = proved(told)
  pipelining.misordered()
  pipelining.proved()
  answers(pipelining, 10_000)
  expect(pipelining.depth(1e12)).toBe(1)
  expect(pipelining.isProved()).toBe(false)
  expect(told).toEqual(['misordered'])
})
