import { expect, test } from 'vitest'
import { createFeed, type Entry } from './feed.ts'

const entry = (seenFrom: number, text = `${seenFrom};`): Entry => ({ seenFrom, text })

test('whoever has seen an event is told what came after it', () => {
  const feed = createFeed(100)
  feed.push([entry(5), entry(6)], 4, 6)
  feed.push([entry(8)], 6, 8)
  expect([3, 4, 5, 6, 7, 8, 9].map(id => feed.after(id))).toEqual([null, '5;6;8;', '6;8;', '8;', '8;', '', null])
  expect(feed.lastId()).toBe(8)
})

test('an entry may have to be told to those who have seen its number', () => {
  const feed = createFeed(100)
  feed.push([entry(5), entry(6, 'book 5;')], 4, 5)
  feed.push([entry(6)], 5, 6)
  expect([4, 5, 6].map(id => feed.after(id))).toEqual(['5;book 5;6;', 'book 5;6;', ''])
})

test('nothing is known of before it began, and of what was dropped', () => {
  const feed = createFeed(6)
  expect(feed.after(0)).toBe(null)
  feed.beginAt(3)
  feed.beginAt(1)
  expect([2, 3, 4].map(id => feed.after(id))).toEqual([null, '', null])
  for (let id = 4; id < 100; id++) feed.push([entry(id, `${id}`.padStart(2, '0'))], id - 1, id)
  expect([95, 96, 97, 99].map(id => feed.after(id))).toEqual([null, '979899', '9899', ''])
  feed.push([entry(100, 'too long to be kept')], 99, 100)
  expect([99, 100].map(id => feed.after(id))).toEqual([null, ''])
})

test('those who follow are told of each batch, until they or the feed end', () => {
  const feed = createFeed(100)
  const told: string[] = []
  const follow = (name: string) =>
    feed.follow({ send: text => void told.push(`${name} ${text}`), end: () => void told.push(`${name} ended`) })
  const stop = follow('one')
  follow('two')
  feed.push([entry(1), entry(2)], 0, 2)
  stop()
  feed.push([entry(3)], 2, 3)
  expect(feed.isFollowed()).toBe(true)
  feed.end()
  feed.push([entry(4)], 3, 4)
  expect(told).toEqual(['one 1;2;', 'two 1;2;', 'two 3;', 'two ended'])
  expect([feed.isFollowed(), feed.after(3)]).toEqual([false, null])
})
