/** Whether all answers to the calls of a key say the same, and what is stored. */
import assert from 'node:assert/strict'
import type { Books, KeyView } from './books.ts'
import { isReversed } from './events.ts'
import type { Attempt, History } from './history.ts'
import { answerOf, answerOfView } from './said.ts'

export interface Agreement {
  /** Answers that were given more than once. */
  readonly replayed: number
  readonly reused: number
  readonly reversed: number
}

export function assertAgreement(history: History, { keys }: Books): Agreement {
  const counted = { replayed: 0, reused: 0, reversed: 0 }
  for (const key of history.keys()) {
    const view = keys.get(key)
    assert.ok(view !== undefined, `${key} was answered, and is not known`)
    const asked = history.of(key, 'reversals')
    const [calls, reversals] = [answered(history.of(key, 'calls')), answered(asked)]
    assertReversals(key, view, reversals)
    const isOurs = view.type !== 'reversal'
    const stored = isOurs ? answerOfView(view) : null
    let first = 0
    const contents = new Set(calls.filter(isOfContent).map(({ item }) => item.call))
    assert.ok(contents.size <= 1, `${key}: one of the contents counts, and no other`)
    for (const attempt of calls) {
      const { said, item, sent, answered: at } = attempt
      const about = `${key}: ${JSON.stringify(said)}`
      const isUndoneBefore = reversals.some(each => isDone(each) && each.answered < sent)
      const isAskedLater = asked.every(each => each.sent > at)
      if (isReversed(attempt)) {
        assert.ok(!isAskedLater, `${about} before anybody asked for it`)
        counted.reversed++
        continue
      }
      assert.ok(!isUndoneBefore, `${about} after it was reversed`)
      if (said?.is === 'refused' && said.code === 'IDEMPOTENCY_KEY_REUSED') {
        assert.ok(item.content !== 'first' && item.content !== 'same' ? true : hasRacer(calls), about)
        counted.reused++
        continue
      }
      assert.ok(item.content !== 'other', `${about} to other content`)
      assert.equal(said === null ? null : answerOf(said), stored, `${key}: what was answered is what is stored`)
      if (said?.is !== 'applied') continue
      assertAsStored(about, said.body, view)
      if (said.replayed) counted.replayed++
      else first++
    }
    assert.ok(first <= 1, `${key} was done ${first} times`)
  }
  return counted
}

function answered(attempts: readonly Attempt[]): readonly Attempt[] {
  return attempts.filter(({ said }) => said !== null)
}

function isOfContent(attempt: Attempt): boolean {
  const { said } = attempt
  return !isReversed(attempt) && !(said?.is === 'refused' && said.code === 'IDEMPOTENCY_KEY_REUSED')
}

function hasRacer(calls: readonly Attempt[]): boolean {
  return calls.some(({ item }) => item.content === 'race')
}

function isDone({ said }: Attempt): boolean {
  return said?.is === 'applied'
}

function assertReversals(key: string, { status }: KeyView, reversals: readonly Attempt[]): void {
  const done = reversals.filter(isDone)
  const first = done.filter(({ said }) => said?.is === 'applied' && !said.replayed)
  assert.ok(first.length <= 1, `${key} was reversed ${first.length} times`)
  for (const { said, answered: at } of done) {
    assert.ok(said?.is === 'applied')
    assert.equal(said.body['status'], status, `${key}: what was answered is what is stored`)
    const failed = reversals.find(each => each.said?.is === 'refused' && each.sent > at)
    assert.equal(failed, undefined, `${key}: what is reversed stays so`)
  }
}

/** What an answer says beyond what the model is asked. */
function assertAsStored(about: string, body: Readonly<Record<string, unknown>>, view: KeyView): void {
  for (const field of ['user_id', 'currency', 'amount', 'applied_at'] as const) {
    if (body[field] !== undefined) assert.equal(body[field], view[field], `${about}: ${field}`)
  }
}
