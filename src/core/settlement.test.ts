import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RetryPolicy } from './backoff.ts'
import type { LegName } from './legs.ts'
import {
  type Answer,
  type Event,
  keyOf,
  type Next,
  newSettlement,
  next,
  type Plan,
  retryCount,
  type Settlement,
} from './settlement.ts'

const POLICY: RetryPolicy = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1_000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 4,
  undoBackoffMs: 1_000,
  undoSlowRetryMs: 60_000,
}

const BUYER_FIRST: readonly LegName[] = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee']
const DEBITS_FIRST: readonly LegName[] = ['buyer-debit', 'seller-debit', 'buyer-credit', 'seller-credit', 'fee']
/** The least that shows a rule: one leg to undo, and one more. */
const TWO: readonly LegName[] = ['buyer-debit', 'buyer-credit']
const TWO_AND_FEE: readonly LegName[] = [...TWO, 'fee']

const withReversals = (steps: readonly LegName[] = BUYER_FIRST): Plan => plan(steps, 'reversal')
const withoutReversals = (steps: readonly LegName[] = BUYER_FIRST): Plan => plan(steps, 'opposite')
const forgetful = (steps: readonly LegName[] = BUYER_FIRST): Plan => ({ ...plan(steps, 'opposite'), repeatable: false })
const ATOMIC: Plan = { rail: 'atomic', steps: ['settlement'], undo: 'reversal', repeatable: true }

function plan(steps: readonly LegName[], undo: Plan['undo']): Plan {
  return { rail: 'saga', steps, undo, repeatable: true }
}

const known = (code: string) => ({ code, detail: 'as the wallet put it', retryAfterMs: null }) as const
const ANSWERS = {
  applied: { outcome: 'applied' },
  refused: { outcome: 'refused', ...known('INSUFFICIENT_BALANCE') },
  /** Perhaps done. */
  lost: { outcome: 'unanswered', reached: true, ...known('TIMEOUT') },
  /** Not taken: too many requests. */
  busy: { outcome: 'deferred', reached: true, ...known('RATE_LIMITED') },
  /** Not taken: the wallet can't be reached at all. */
  nobody: { outcome: 'deferred', reached: false, ...known('UNREACHABLE') },
  fault: { outcome: 'fault', ...known('IDEMPOTENCY_KEY_REUSED') },
} as const satisfies Readonly<Record<string, Answer>>

/** What comes back from a call; `crash`: the process is gone before it learns. Or what an operator does at rest. */
type Word = keyof typeof ANSWERS | 'crash' | 'requeue' | 'resolve' | Answer

interface Told {
  /** What was done, line by line: calls with their keys, saves, waits with their length, rests. */
  readonly lines: readonly string[]
  readonly settlement: Settlement
}

/**
 * Drives a settlement as a worker would: each word of the script answers the next call, or is what an operator does.
 * The clock moves to the end of each wait at once. Ends with the script.
 */
function tell(plan: Plan, script: readonly Word[], from: Settlement = newSettlement(plan), first?: Event): Told {
  const words = [...script]
  const lines: string[] = []
  let stored = from
  let now = 0
  let settlement = from
  let event: Event | null = first ?? { type: 'begin', resumed: false }
  while (event !== null) {
    const decided: Next = next(settlement, event, now, plan, POLICY)
    settlement = decided.settlement
    event = null
    for (const effect of decided.effects) {
      if (effect.type === 'save') {
        stored = settlement
        lines.push('save')
      } else if (effect.type === 'wait' || effect.type === 'finish') {
        stored = settlement
        const untilMs: number | null = effect.type === 'wait' ? effect.untilMs : effect.againAtMs
        const pause = untilMs === null ? '' : `${untilMs - now} ms`
        lines.push(
          effect.type === 'wait' ? `wait ${pause}` : [endOf(settlement), pause].filter(Boolean).join(', again in '),
        )
        now = untilMs ?? now
        event = words.length === 0 ? null : atRest(words, untilMs)
      } else {
        const name = plan.steps[effect.step] ?? 'settlement'
        const key = keyOf('t', settlement, name)
        const isOpposite = effect.type === 'undo' && effect.how === 'opposite'
        lines.push(`${effect.type === 'undo' && !isOpposite ? 'reverse' : effect.type} ${key}`)
        const word = words.shift()
        if (word === undefined) return { lines, settlement }
        if (word === 'crash') {
          settlement = stored
          event = { type: 'begin', resumed: true }
        } else if (word === 'requeue' || word === 'resolve') throw new Error(`an operator can't ${word} during a call`)
        else {
          const answer = typeof word === 'string' ? ANSWERS[word] : word
          event = { type: 'answer', call: effect.type, step: effect.step, answer, random: 0.5 }
        }
      }
    }
  }
  if (words.length > 0) throw new Error(`nobody asked for ${JSON.stringify(words)} after ${lines.join('; ')}`)
  return { lines, settlement }
}

function atRest(words: Word[], untilMs: number | null): Event | null {
  if (words[0] === 'requeue' || words[0] === 'resolve') {
    const type = words[0]
    words.shift()
    return { type }
  }
  return untilMs === null ? null : { type: 'due' }
}

function endOf({ phase, rollback, fee }: Settlement): string {
  if (phase === 'settled') return fee === 'none' ? 'settled' : `settled, fee ${fee}`
  return `${phase}, rollback ${rollback}`
}

const times = (count: number, word: Word): readonly Word[] => Array.from({ length: count }, () => word)

function answerTo(step: number, answer: Answer, call: 'apply' | 'undo' = 'apply'): Event {
  return { type: 'answer', call, step, answer, random: 0.5 }
}

describe('S-2 a trade that goes well', () => {
  test('T-2 applies its legs in order, each once, and is settled', () => {
    const { lines, settlement } = tell(withReversals(), times(5, 'applied'))
    expect(lines).toEqual([...BUYER_FIRST.map(name => `apply t:0:${name}`), 'settled'])
    expect(retryCount(settlement)).toBe(0)
    expect(settlement.failure).toBeNull()
  })

  test('writes nothing before its end where the wallet recognises keys', () => {
    expect(tell(withReversals(), times(5, 'applied')).lines).not.toContain('save')
  })

  test('of which nothing moves is settled without a call', () => {
    expect(tell(withReversals([]), []).lines).toEqual(['settled'])
    expect(retryCount(newSettlement(withReversals([])))).toBe(0)
  })

  test('on the atomic rail is one call with one key', () => {
    expect(tell(ATOMIC, ['applied']).lines).toEqual(['apply t:0', 'settled'])
  })

  test('trap 11: no time that passes between two legs changes what is done', () => {
    const oneDone = next(newSettlement(withReversals(TWO)), answerTo(0, ANSWERS.applied), 0, withReversals(TWO), POLICY)
    const aYear = 365 * 86_400_000
    for (const event of [{ type: 'due' }, { type: 'begin', resumed: false }] as const) {
      const later = next(oneDone.settlement, event, aYear, withReversals(TWO), POLICY)
      expect(later).toEqual({ settlement: oneDone.settlement, effects: [{ type: 'apply', step: 1 }] })
    }
  })
})

describe('S-4 retries', () => {
  test('S-4, D-3, trap 9: one attempt and at most three retries, 1 s, 2 s and 4 s apart', () => {
    const { lines, settlement } = tell(withReversals(TWO), [...times(4, 'lost'), 'applied'])
    expect(lines).toEqual([
      'apply t:0:buyer-debit',
      'wait 1000 ms',
      'apply t:0:buyer-debit',
      'wait 2000 ms',
      'apply t:0:buyer-debit',
      'wait 4000 ms',
      'apply t:0:buyer-debit',
      'save',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
    expect(retryCount(settlement)).toBe(3)
    expect(settlement.failure).toEqual({ step: 'buyer-debit', code: 'TIMEOUT', detail: 'as the wallet put it' })
  })

  test.each<[name: string, script: readonly Word[], retries: number]>([
    ['the first attempt', ['applied', 'applied'], 0],
    ['the first retry', ['lost', 'applied', 'applied'], 1],
    ['the last retry', ['lost', 'busy', 'lost', 'applied', 'applied'], 3],
    ['the leg that took the most', ['lost', 'applied', 'busy', 'busy', 'applied'], 2],
  ])('P-4, D-3 settles at %s and counts its retries', (_, script, retries) => {
    const { lines, settlement } = tell(withReversals(TWO), script)
    expect(lines.at(-1)).toBe('settled')
    expect(retryCount(settlement)).toBe(retries)
  })

  test('trap 10: a lost packet repeats the one operation, and nothing is rolled back', () => {
    expect(tell(withReversals(TWO), ['applied', 'lost', 'applied']).lines).toEqual([
      'apply t:0:buyer-debit',
      'apply t:0:buyer-credit',
      'wait 1000 ms',
      'apply t:0:buyer-credit',
      'settled',
    ])
  })

  test('trap 2: every call for a leg has the same key, whatever came of the ones before', () => {
    const word = fc.constantFrom<Word>('lost', 'busy', 'nobody')
    fc.assert(
      fc.property(fc.array(word, { maxLength: 3 }), fc.boolean(), (words, isResumed) => {
        const first: Event = { type: 'begin', resumed: isResumed }
        const { lines } = tell(withReversals(TWO), [...words, 'applied', 'applied'], undefined, first)
        const calls = lines.filter(line => line.startsWith('apply'))
        expect(new Set(calls)).toEqual(new Set(['apply t:0:buyer-debit', 'apply t:0:buyer-credit']))
      }),
    )
  })

  test('a wallet that can not be reached uses up no attempt, however long it takes', () => {
    const { lines, settlement } = tell(withReversals(TWO), [...times(50, 'nobody'), 'applied', 'applied'])
    expect(lines.filter(line => line === 'wait 1000 ms')).toHaveLength(50)
    expect(lines.at(-1)).toBe('settled')
    expect(retryCount(settlement)).toBe(0)
  })

  test('nor does it when the other attempts are used up', () => {
    const script = [...times(3, 'lost'), ...times(9, 'nobody'), 'applied', 'applied'] as const
    const { lines, settlement } = tell(withReversals(TWO), script)
    expect(lines.at(-1)).toBe('settled')
    expect(retryCount(settlement)).toBe(3)
  })

  test('a refusal is never retried', () => {
    expect(tell(withReversals(TWO), ['refused']).lines).toEqual([
      'apply t:0:buyer-debit',
      'failed, rollback not_needed',
    ])
  })

  test.each([
    ['longer than the wait', 30_000, 30_000],
    ['shorter than the wait', 200, 1_000],
    ['an hour', 3_600_000, 3_600_000],
    ['more than an hour', 7_200_000, 3_600_000],
  ])('obeys a Retry-After of %s', (_, retryAfterMs, waited) => {
    for (const answer of [ANSWERS.busy, ANSWERS.lost, ANSWERS.nobody]) {
      const { lines } = tell(withReversals(TWO), [{ ...answer, retryAfterMs }])
      expect(lines).toEqual(['apply t:0:buyer-debit', `wait ${waited} ms`])
    }
  })

  test('obeys a Retry-After on the last attempt too: the turn is stored, and the undo comes after the pause', () => {
    const script: readonly Word[] = [...times(3, 'lost'), { ...ANSWERS.lost, retryAfterMs: 20_000 }, 'applied']
    expect(tell(withReversals(TWO), script).lines.slice(-4)).toEqual([
      'apply t:0:buyer-debit',
      'wait 20000 ms',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })
})

describe('F-2 a leg that fails', () => {
  /** The leg that is refused, in the order of the legs, and the legs that are undone then. */
  const ROWS: readonly (readonly [refused: LegName, order: readonly LegName[], undone: readonly LegName[]])[] = [
    ['buyer-debit', BUYER_FIRST, []],
    ['buyer-credit', BUYER_FIRST, ['buyer-debit']],
    ['seller-debit', BUYER_FIRST, ['buyer-credit', 'buyer-debit']],
    ['seller-credit', BUYER_FIRST, ['seller-debit', 'buyer-credit', 'buyer-debit']],
    ['seller-debit', DEBITS_FIRST, ['buyer-debit']],
    ['buyer-credit', DEBITS_FIRST, ['seller-debit', 'buyer-debit']],
    ['seller-credit', DEBITS_FIRST, ['buyer-credit', 'seller-debit', 'buyer-debit']],
  ]

  describe.each(ROWS)('F-2 %s refused, of %j', (refused, order, undone) => {
    const applied = order.slice(0, order.indexOf(refused))
    const calls = [...applied, refused].map(name => `apply t:0:${name}`)
    const end = undone.length === 0 ? 'failed, rollback not_needed' : 'failed, rollback complete'
    const script: readonly Word[] = [
      ...applied.map(() => 'applied' as const),
      'refused',
      ...undone.map(() => 'applied' as const),
    ]

    test('F-2, S-3 undoes what was applied, newest first, by reversal; the turn is stored before', () => {
      const undos = undone.map(name => `reverse t:0:${name}`)
      const { lines, settlement } = tell(withReversals(order), script)
      expect(lines).toEqual([...calls, ...(undone.length === 0 ? [] : ['save']), ...undos, end])
      expect(settlement.failure).toMatchObject({ step: refused, code: 'INSUFFICIENT_BALANCE' })
    })

    test('F-2, S-3 the same by opposite operations where there are no reversals', () => {
      const undos = undone.map(name => `undo t:0:${name}`)
      expect(tell(withoutReversals(order), script).lines).toEqual([
        ...calls,
        ...(undone.length === 0 ? [] : ['save']),
        ...undos,
        end,
      ])
    })
  })

  test('trap 1: a leg whose answer never came counts as perhaps done, and is undone first', () => {
    const { lines } = tell(withReversals(TWO), ['applied', ...times(4, 'lost'), 'applied', 'applied'])
    expect(lines.slice(-4)).toEqual([
      'save',
      'reverse t:0:buyer-credit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('doubt stays when a later call was not even taken', () => {
    const { lines } = tell(withReversals(TWO), ['lost', ...times(3, 'busy'), 'applied'])
    expect(lines.slice(-3)).toEqual(['save', 'reverse t:0:buyer-debit', 'failed, rollback complete'])
  })

  test('a leg that was never taken needs no undo', () => {
    expect(tell(withReversals(TWO), times(4, 'busy')).lines.at(-1)).toBe('failed, rollback not_needed')
  })

  test('where refusals are remembered, one ends the doubt', () => {
    const { lines } = tell(withReversals(TWO), ['applied', 'lost', 'refused', 'applied'])
    expect(lines.slice(-3)).toEqual(['save', 'reverse t:0:buyer-debit', 'failed, rollback complete'])
  })

  test('a refusal that spends no key leaves the doubt, which a reversal ends', () => {
    const malformed: Answer = { outcome: 'refused', ...known('INVALID_REQUEST') }
    const { lines, settlement } = tell(withReversals(TWO), ['applied', 'lost', malformed, 'applied', 'applied'])
    expect(lines.slice(-4)).toEqual([
      'save',
      'reverse t:0:buyer-credit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
    expect(settlement.failure).toMatchObject({ step: 'buyer-credit', code: 'INVALID_REQUEST' })
    expect(tell(ATOMIC, ['lost', malformed, 'applied']).lines.slice(-3)).toEqual([
      'save',
      'reverse t:0',
      'failed, rollback complete',
    ])
    // Nobody is in doubt of what was asked for once.
    expect(tell(ATOMIC, [malformed]).lines).toEqual(['apply t:0', 'failed, rollback not_needed'])
    // Nor is it a fee's new key that may be used then, which would collect it twice.
    const fee = tell(withReversals(TWO_AND_FEE), [
      'applied',
      'applied',
      'lost',
      ...times(3, malformed),
      'requeue',
      'applied',
    ])
    expect(fee.lines.slice(-2)).toEqual(['apply t:0:fee', 'settled'])
  })

  test('trap 12: a seller who lacks the asset is found before anybody is credited, when debits come first', () => {
    const { lines } = tell(withReversals(DEBITS_FIRST), ['applied', 'refused', 'applied'])
    expect(lines.join()).not.toContain('credit')
  })
})

describe('S-3 the way back', () => {
  test('what moved under a key of somebody else is not ours to take back, whoever asks for it', () => {
    for (const [settles, script] of [
      [withReversals(TWO), ['applied', 'fault', 'requeue']],
      [ATOMIC, ['fault', 'requeue']],
    ] as const) {
      const { settlement } = tell(settles, script)
      const after = tell(settles, [], settlement, { type: 'due' })
      expect(after.lines.join()).not.toContain('reverse')
      expect(after.settlement).toMatchObject({ phase: 'parked', rollback: 'incomplete', held: true })
    }
  })

  const TURNED: readonly Word[] = ['applied', 'applied', 'refused']
  const THREE: readonly LegName[] = ['buyer-debit', 'buyer-credit', 'seller-debit']

  test('trap 3: an undo that gets no answer is repeated, longer and longer apart, under the same key', () => {
    const { lines } = tell(withReversals(THREE), [...TURNED, 'lost', 'busy', 'lost', 'applied', 'applied'])
    expect(lines.slice(3)).toEqual([
      'save',
      'reverse t:0:buyer-credit',
      'wait 1000 ms',
      'reverse t:0:buyer-credit',
      'wait 2000 ms',
      'reverse t:0:buyer-credit',
      'wait 4000 ms',
      'reverse t:0:buyer-credit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('each undo has all its attempts', () => {
    const script: readonly Word[] = [...TURNED, ...times(3, 'lost'), 'applied', ...times(3, 'lost'), 'applied']
    expect(tell(withReversals(THREE), script).lines.at(-1)).toBe('failed, rollback complete')
  })

  test('an undo whose attempts are used up is parked as incomplete, retried slowly, and may still complete', () => {
    const { lines } = tell(withReversals(THREE), [...TURNED, ...times(4, 'lost'), 'lost', 'applied', 'applied'])
    expect(lines.slice(-6)).toEqual([
      'parked, rollback incomplete, again in 60000 ms',
      'reverse t:0:buyer-credit',
      'parked, rollback incomplete, again in 60000 ms',
      'reverse t:0:buyer-credit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('a wallet that can not be reached uses up none of them', () => {
    const { lines } = tell(withReversals(THREE), [...TURNED, ...times(30, 'nobody'), 'applied', 'applied'])
    expect(lines.filter(line => line === 'wait 1000 ms')).toHaveLength(30)
    expect(lines.at(-1)).toBe('failed, rollback complete')
  })

  test('trap 12: an undo that is refused parks at once; what came before it stays until it is undone', () => {
    for (const undoable of [withReversals(THREE), withoutReversals(THREE)]) {
      const { lines, settlement } = tell(undoable, [...TURNED, 'refused'])
      expect(lines.at(-1)).toBe('parked, rollback incomplete, again in 60000 ms')
      expect(lines.join()).not.toMatch(/(undo|reverse) t:0:buyer-debit/)
      expect(settlement.steps.map(step => step.state)).toEqual(['applied', 'applied', 'refused'])
      expect(settlement.failure).toMatchObject({ step: 'seller-debit' })
      expect(settlement.steps[1]?.lastError).toMatchObject({ step: 'buyer-credit', code: 'INSUFFICIENT_BALANCE' })
    }
  })

  test('a Retry-After is obeyed between slow retries too', () => {
    const asked: Answer = { ...ANSWERS.busy, retryAfterMs: 600_000 }
    const { lines } = tell(withReversals(THREE), [...TURNED, 'refused', asked])
    expect(lines.at(-1)).toBe('parked, rollback incomplete, again in 600000 ms')
  })

  test.each([withReversals(THREE), withoutReversals(THREE), forgetful(THREE), ATOMIC])(
    'invariant 4: no undo before the turn is stored, no leg after it (%j)',
    undoable => {
      const word = fc.constantFrom<Word>('applied', 'refused', 'lost', 'busy', 'nobody', 'fault', 'crash')
      fc.assert(
        fc.property(fc.array(word, { maxLength: 40 }), words => {
          const lines = tellWhatFits(undoable, words)
          const firstUndo = lines.findIndex(line => /^(undo|reverse)/.test(line))
          if (firstUndo === -1) return
          expect(lines.slice(0, firstUndo).some(line => line === 'save' || line.startsWith('wait'))).toBe(true)
          const asksFirst = undoable.undo === 'opposite' && undoable.repeatable
          if (!asksFirst) expect(lines.slice(firstUndo).join()).not.toContain('apply')
        }),
      )
    },
  )
})

/** The story up to where it comes to rest, leaving out the words that are left then. */
function tellWhatFits(plan: Plan, words: readonly Word[]): readonly string[] {
  for (let length = words.length; length > 0; length--) {
    try {
      return tell(plan, words.slice(0, length)).lines
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('nobody asked'))) throw error
    }
  }
  return []
}

describe('S-3 a wallet without reversals', () => {
  test('a leg in doubt is repeated under its key until the answer is known, and then undone', () => {
    const script: readonly Word[] = ['applied', ...times(4, 'lost'), 'busy', 'applied', 'applied', 'applied']
    const { lines, settlement } = tell(withoutReversals(TWO), script)
    expect(lines.slice(8)).toEqual([
      'save',
      'apply t:0:buyer-credit',
      'wait 1000 ms',
      'apply t:0:buyer-credit',
      'undo t:0:buyer-credit',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
    // D-3 asking what became of a leg is no retry of it.
    expect(retryCount(settlement)).toBe(3)
  })

  test('a refusal in doubt is asked for again, later, before it is believed', () => {
    const { lines } = tell(withoutReversals(TWO), ['applied', 'lost', 'refused', 'refused', 'applied'])
    expect(lines).toEqual([
      'apply t:0:buyer-debit',
      'apply t:0:buyer-credit',
      'wait 1000 ms',
      'apply t:0:buyer-credit',
      'wait 1000 ms',
      'apply t:0:buyer-credit',
      'save',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('a refusal that is followed by silence counts for nothing', () => {
    const { lines } = tell(withoutReversals(TWO), ['lost', 'refused', 'lost', 'refused', 'refused', 'refused'])
    expect(lines.slice(-4)).toEqual([
      'apply t:0:buyer-debit',
      'wait 1000 ms',
      'apply t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('S-4, D-3 a refusal in doubt on the last attempt is asked for again on the way back, not by a fourth retry', () => {
    const { lines, settlement } = tell(withoutReversals(TWO), [...times(3, 'lost'), 'refused', 'refused', 'refused'])
    expect(lines.slice(-6)).toEqual([
      'apply t:0:buyer-debit',
      'save',
      'apply t:0:buyer-debit',
      'wait 1000 ms',
      'apply t:0:buyer-debit',
      'failed, rollback complete',
    ])
    expect(retryCount(settlement)).toBe(3)
  })

  test('a refusal without doubt is believed at once', () => {
    expect(tell(withoutReversals(TWO), ['refused']).lines).toEqual([
      'apply t:0:buyer-debit',
      'failed, rollback not_needed',
    ])
  })

  test('asking goes on slowly when it is not answered', () => {
    const { lines } = tell(withoutReversals(TWO), [...times(4, 'lost'), ...times(4, 'lost'), 'refused', 'refused'])
    expect(lines.slice(-5)).toEqual([
      'parked, rollback incomplete, again in 60000 ms',
      'apply t:0:buyer-debit',
      'wait 1000 ms',
      'apply t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('stores that a leg in doubt was refused after all before it undoes the legs in front: it could be applied later', () => {
    const script: readonly Word[] = ['applied', ...times(4, 'lost'), 'refused', 'refused', 'crash', 'applied']
    const { lines, settlement } = tell(withoutReversals(TWO), script)
    expect(lines.slice(-7)).toEqual([
      'apply t:0:buyer-credit',
      'wait 1000 ms',
      'apply t:0:buyer-credit',
      'save',
      'undo t:0:buyer-debit',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
    expect(settlement.steps[1]).toMatchObject({ state: 'refused', inDoubt: false })
  })

  test('legs in doubt are asked oldest first: nobody is credited what nobody has paid', () => {
    const { lines } = tell(withoutReversals(BUYER_FIRST), ['crash', ...times(4, 'lost'), 'refused', 'refused'])
    expect(lines.slice(-5)).toEqual([
      'save',
      'apply t:0:buyer-debit',
      'wait 1000 ms',
      'apply t:0:buyer-debit',
      'failed, rollback complete',
    ])
    expect(lines.join()).not.toContain('seller')
  })

  test('when all of them turn out to be applied, they are undone newest first', () => {
    const script: readonly Word[] = ['crash', ...times(4, 'lost'), ...times(3, 'applied'), ...times(3, 'applied')]
    expect(tell(withoutReversals(TWO_AND_FEE), script).lines.slice(-7)).toEqual([
      'apply t:0:buyer-debit',
      'apply t:0:buyer-credit',
      'apply t:0:fee',
      'undo t:0:fee',
      'undo t:0:buyer-credit',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })
})

describe('F-6 a process that dies', () => {
  test('is followed by one that repeats its calls under their keys', () => {
    expect(tell(withReversals(TWO), ['applied', 'crash', 'applied', 'applied']).lines).toEqual([
      'apply t:0:buyer-debit',
      'apply t:0:buyer-credit',
      'apply t:0:buyer-debit',
      'apply t:0:buyer-credit',
      'settled',
    ])
  })

  test('may have gone further: every leg is in doubt, and all are reversed', () => {
    const script: readonly Word[] = ['crash', ...times(4, 'busy'), ...times(3, 'applied')]
    expect(tell(withReversals(TWO_AND_FEE), script).lines.slice(-5)).toEqual([
      'save',
      'reverse t:0:fee',
      'reverse t:0:buyer-credit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('did not go past a leg that is refused now', () => {
    expect(tell(withReversals(TWO), ['crash', 'refused']).lines.at(-1)).toBe('failed, rollback not_needed')
  })

  test('on the way back is followed by one that goes on backward', () => {
    expect(tell(withReversals(TWO), ['applied', 'refused', 'crash', 'applied']).lines.slice(-4)).toEqual([
      'save',
      'reverse t:0:buyer-debit',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('may have sent an owed fee: without reversals its refusal is not believed at once', () => {
    const owed = tell(withoutReversals(TWO_AND_FEE), ['applied', 'applied', 'busy']).settlement
    const resumed: Event = { type: 'begin', resumed: true }
    const { settlement } = tell(withoutReversals(TWO_AND_FEE), ['refused'], owed, resumed)
    expect(settlement).toMatchObject({ phase: 'settled', fee: 'owed' })
    expect(settlement.steps[2]).toMatchObject({ state: 'unanswered', inDoubt: true })
  })

  test('after the end has nothing left to do', () => {
    for (const script of [['applied', 'applied'], ['refused']] as const) {
      const { settlement } = tell(withReversals(TWO), script)
      for (const event of [{ type: 'begin', resumed: true }, { type: 'due' }] as const) {
        const again = next(settlement, event, 0, withReversals(TWO), POLICY)
        expect(again).toEqual({ settlement, effects: [{ type: 'finish', againAtMs: null }] })
      }
    }
  })
})

describe('W-5, trap 5: the fee', () => {
  const PAID: readonly Word[] = ['applied', 'applied']

  test('F-2 that is refused never turns the settlement: it is parked by itself', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [...PAID, 'refused'])
    expect(lines.at(-1)).toBe('settled, fee parked')
    expect(settlement).toMatchObject({ rollback: 'not_needed', failure: { step: 'fee' } })
  })

  test('that gets no answer is owed, and retried three times on its own', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [...PAID, ...times(4, 'lost')])
    expect(lines.slice(2)).toEqual([
      'apply t:0:fee',
      'settled, fee owed, again in 1000 ms',
      'apply t:0:fee',
      'settled, fee owed, again in 2000 ms',
      'apply t:0:fee',
      'settled, fee owed, again in 4000 ms',
      'apply t:0:fee',
      'settled, fee parked',
    ])
    expect(retryCount(settlement)).toBe(3)
  })

  test('that is owed is collected in the end', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [...PAID, 'busy', 'applied'])
    expect(lines.slice(-3)).toEqual(['settled, fee owed, again in 1000 ms', 'apply t:0:fee', 'settled'])
    expect(settlement.failure).toBeNull()
  })

  test('waits as long as the wallet asks, and uses up no attempt while it is out of reach', () => {
    const asked: Answer = { ...ANSWERS.busy, retryAfterMs: 9_000 }
    const { lines } = tell(withReversals(TWO_AND_FEE), [...PAID, asked, ...times(20, 'nobody'), 'applied'])
    expect(lines[3]).toBe('settled, fee owed, again in 9000 ms')
    expect(lines.at(-1)).toBe('settled')
  })

  test('F-4 that was refused is requeued under a key of its own', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [
      ...PAID,
      'refused',
      'requeue',
      'refused',
      'requeue',
      'applied',
    ])
    expect(lines.slice(2)).toEqual([
      'apply t:0:fee',
      'settled, fee parked',
      'settled, fee owed, again in 0 ms',
      'apply t:1:fee',
      'settled, fee parked',
      'settled, fee owed, again in 0 ms',
      'apply t:2:fee',
      'settled',
    ])
    expect(settlement).toMatchObject({ epoch: 0, feeEpoch: 2 })
  })

  test('F-4 that may have been collected is requeued under its old key, with all its attempts', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [
      ...PAID,
      ...times(4, 'lost'),
      'requeue',
      ...times(3, 'lost'),
      'applied',
    ])
    expect(lines.filter(line => line === 'apply t:0:fee')).toHaveLength(8)
    expect(lines.at(-1)).toBe('settled')
    // What it was parked for stays to be seen: by it the settler knows that there is a letter to close.
    expect(settlement.failure).toMatchObject({ step: 'fee', code: 'TIMEOUT' })
  })

  test('whose key moved other money is parked, with the alarm', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [...PAID, 'fault'])
    expect(lines.at(-1)).toBe('settled, fee parked')
    expect(settlement.failure).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
  })

  test('in doubt that is refused is asked for again before it is believed, where there are no reversals', () => {
    const { lines } = tell(withoutReversals(TWO_AND_FEE), [...PAID, 'lost', 'refused', 'refused'])
    expect(lines.slice(-4)).toEqual([
      'apply t:0:fee',
      'settled, fee owed, again in 2000 ms',
      'apply t:0:fee',
      'settled, fee parked',
    ])
  })

  test('S-4 in doubt that is refused on the last attempt is parked in doubt, not asked a fifth time', () => {
    const { lines, settlement } = tell(withoutReversals(TWO_AND_FEE), [...PAID, ...times(3, 'lost'), 'refused'])
    expect(lines.filter(line => line === 'apply t:0:fee')).toHaveLength(4)
    expect(lines.at(-1)).toBe('settled, fee parked')
    expect(settlement.steps[2]).toMatchObject({ inDoubt: true })
  })

  test('F-4 that is parked can be resolved elsewhere', () => {
    expect(tell(withReversals(TWO_AND_FEE), [...PAID, 'refused', 'resolve']).lines.at(-1)).toBe('settled, fee parked')
  })
})

describe('F-4 dead letters', () => {
  const REFUSED: readonly Word[] = ['applied', 'refused', 'applied']
  const PARKED: readonly Word[] = ['applied', 'refused', 'refused']

  test('requeued after a complete rollback, all begins anew with fresh keys', () => {
    const { lines, settlement } = tell(withReversals(TWO_AND_FEE), [...REFUSED, 'requeue', ...times(3, 'applied')])
    expect(lines.slice(-6)).toEqual([
      'failed, rollback complete',
      'wait 0 ms',
      'apply t:1:buyer-debit',
      'apply t:1:buyer-credit',
      'apply t:1:fee',
      'settled',
    ])
    expect(settlement).toMatchObject({ epoch: 1, feeEpoch: 1, failure: null })
  })

  test('requeued while its rollback is incomplete, it completes that first', () => {
    const { lines } = tell(withReversals(TWO), [...PARKED, 'requeue', 'applied', 'applied', 'applied'])
    expect(lines.slice(-6)).toEqual([
      'wait 0 ms',
      'reverse t:0:buyer-debit',
      'wait 0 ms',
      'apply t:1:buyer-debit',
      'apply t:1:buyer-credit',
      'settled',
    ])
  })

  test('requeued in vain it is parked again, and does not begin anew when the rollback completes later', () => {
    const { lines } = tell(withReversals(TWO), [...PARKED, 'requeue', 'refused', 'applied'])
    expect(lines.slice(-4)).toEqual([
      'reverse t:0:buyer-debit',
      'parked, rollback incomplete, again in 60000 ms',
      'reverse t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('resolved, the slow retry stops and the status stays; it can still be requeued', () => {
    const { lines, settlement } = tell(withReversals(TWO), [...PARKED, 'resolve'])
    expect(lines.at(-1)).toBe('parked, rollback incomplete')
    expect(tell(withReversals(TWO), [], settlement, { type: 'due' }).lines).toEqual(['parked, rollback incomplete'])
    const requeued = tell(withReversals(TWO), ['applied'], settlement, { type: 'requeue' })
    expect(requeued.lines.slice(0, 2)).toEqual(['wait 0 ms', 'reverse t:0:buyer-debit'])
  })

  test('a failed one that is resolved stays as it is', () => {
    expect(tell(withReversals(TWO), [...REFUSED, 'resolve']).lines.slice(-2)).toEqual([
      'failed, rollback complete',
      'failed, rollback complete',
    ])
  })
})

describe('a key that has moved other money', () => {
  test.each<[where: string, plan: Plan, script: readonly Word[]]>([
    ['going forward', withReversals(TWO), ['applied', 'fault']],
    ['in an undo', withReversals(TWO), ['applied', 'refused', 'fault']],
    ['asking for a leg in doubt', withoutReversals(TWO), ['applied', ...times(4, 'lost'), 'fault']],
  ])('stops everything where it is: %s', (_, faulty, script) => {
    const { lines, settlement } = tell(faulty, script)
    expect(lines.at(-1)).toBe('parked, rollback incomplete')
    expect(settlement.held).toBe(true)
    expect(settlement.steps.some(step => step.lastError?.code === 'IDEMPOTENCY_KEY_REUSED')).toBe(true)
  })
})

describe('a wallet that forgets keys', () => {
  test('each call is recorded before it is sent', () => {
    expect(tell(forgetful(TWO), ['applied', 'applied']).lines).toEqual([
      'save',
      'apply t:0:buyer-debit',
      'save',
      'apply t:0:buyer-credit',
      'settled',
    ])
  })

  test('a leg without an answer is never sent twice: all stops, and what is known of each leg is kept', () => {
    const { lines, settlement } = tell(forgetful(TWO), ['applied', 'lost'])
    expect(lines.at(-1)).toBe('parked, rollback incomplete')
    expect(settlement.steps.map(step => step.state)).toEqual(['applied', 'unanswered'])
    expect(settlement.failure).toMatchObject({ step: 'buyer-credit', code: 'TIMEOUT' })
  })

  test('a crash after the record is no answer', () => {
    const { lines, settlement } = tell(forgetful(TWO), ['crash'])
    expect(lines).toEqual(['save', 'apply t:0:buyer-debit', 'parked, rollback incomplete'])
    expect(settlement.failure).toMatchObject({ step: 'buyer-debit', code: 'UNANSWERED' })
  })

  test('a call that was not taken may be made again', () => {
    expect(tell(forgetful(TWO), ['busy', 'nobody', 'applied', 'applied']).lines.at(-1)).toBe('settled')
    expect(tell(forgetful(TWO), times(4, 'busy')).lines.at(-1)).toBe('failed, rollback not_needed')
  })

  test('an undo is recorded before it is sent, together with the turn', () => {
    expect(tell(forgetful(TWO), ['applied', 'refused', 'busy', 'applied']).lines.slice(4)).toEqual([
      'save',
      'undo t:0:buyer-debit',
      'wait 1000 ms',
      'save',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test.each<[what: string, word: Word]>([
    ['gets no answer', 'lost'],
    ['is cut off by a crash', 'crash'],
  ])('an undo that %s is never sent twice, nor when an operator retries', (_, word) => {
    const { lines, settlement } = tell(forgetful(TWO), ['applied', 'refused', word])
    expect(lines.at(-1)).toBe('parked, rollback incomplete')
    expect(tell(forgetful(TWO), [], settlement, { type: 'requeue' }).lines).toEqual(['wait 0 ms'])
    const { settlement: requeued } = next(settlement, { type: 'requeue' }, 0, forgetful(TWO), POLICY)
    expect(tell(forgetful(TWO), [], requeued, { type: 'due' }).lines).toEqual(['parked, rollback incomplete'])
  })

  test('an undo that is refused was not done, and is tried again slowly', () => {
    const { lines } = tell(forgetful(TWO), ['applied', 'refused', 'refused', 'applied'])
    expect(lines.slice(-4)).toEqual([
      'parked, rollback incomplete, again in 60000 ms',
      'save',
      'undo t:0:buyer-debit',
      'failed, rollback complete',
    ])
  })

  test('a fee without an answer is parked, and is not sent again when it is requeued', () => {
    const { lines } = tell(forgetful(TWO_AND_FEE), ['applied', 'applied', 'crash', 'requeue'])
    expect(lines.slice(-3)).toEqual(['apply t:0:fee', 'settled, fee parked', 'settled, fee owed, again in 0 ms'])
    const owed = tell(forgetful(TWO_AND_FEE), ['applied', 'applied', 'lost', 'requeue']).settlement
    expect(tell(forgetful(TWO_AND_FEE), [], owed, { type: 'due' }).lines).toEqual(['settled, fee parked'])
  })

  test('no key is ever called twice, whatever happens', () => {
    const word = fc.constantFrom<Word>('applied', 'refused', 'lost', 'crash', 'fault')
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), words => {
        const calls = tellWhatFits(forgetful(), words).filter(line => /^(apply|undo)/.test(line))
        const refused = words.filter(each => each === 'refused').length
        // Only an undo that was refused (so not done) is made again.
        expect(calls.length - new Set(calls).size).toBeLessThanOrEqual(Math.max(refused - 1, 0))
      }),
    )
  })
})

describe('W-7 the atomic rail', () => {
  test.each<[what: string, script: readonly Word[], lines: readonly string[]]>([
    ['refused: failed, nothing to undo', ['refused'], ['apply t:0', 'failed, rollback not_needed']],
    ['a lost answer is repeated', ['lost', 'applied'], ['apply t:0', 'wait 1000 ms', 'apply t:0', 'settled']],
    [
      'retries used up: its key is reversed',
      [...times(4, 'lost'), 'applied'],
      ['apply t:0', 'save', 'reverse t:0', 'failed, rollback complete'],
    ],
    [
      'no answer to that either: parked',
      [...times(4, 'lost'), ...times(4, 'lost')],
      ['wait 4000 ms', 'reverse t:0', 'parked, rollback incomplete, again in 60000 ms'],
    ],
    [
      'the money is spent: parked',
      [...times(4, 'lost'), 'refused'],
      ['save', 'reverse t:0', 'parked, rollback incomplete, again in 60000 ms'],
    ],
    ['never taken: failed', times(4, 'busy'), ['apply t:0', 'failed, rollback not_needed']],
    ['requeued: a fresh key', ['refused', 'requeue', 'applied'], ['wait 0 ms', 'apply t:1', 'settled']],
  ])('%s', (_, script, lines) => {
    expect(tell(ATOMIC, script).lines.slice(-lines.length)).toEqual(lines)
  })
})

describe('an event that can not happen is a bug of the caller, and is said', () => {
  const PLAN = withReversals(TWO_AND_FEE)
  const begun = newSettlement(PLAN)
  const failed = tell(PLAN, ['refused']).settlement
  const settled = tell(PLAN, ['applied', 'applied', 'applied']).settlement
  const owed = tell(PLAN, ['applied', 'applied', 'lost']).settlement
  const backward = tell(PLAN, ['applied', 'refused']).settlement

  test.each<[what: string, settlement: Settlement, event: Event]>([
    ['an answer to one that has failed', failed, answerTo(0, ANSWERS.applied)],
    ['an undo of one that goes forward', begun, answerTo(0, ANSWERS.applied, 'undo')],
    ['an undo of one that is settled', settled, answerTo(0, ANSWERS.applied, 'undo')],
    ['an answer to one that is settled, fee and all', settled, answerTo(2, ANSWERS.refused)],
    ['a leg of one that goes backward', backward, answerTo(1, ANSWERS.applied)],
    ['a requeue of one that goes forward', begun, { type: 'requeue' }],
    ['a requeue of one that is settled', settled, { type: 'requeue' }],
    ['a requeue of an owed fee', owed, { type: 'requeue' }],
    ['S-5 a resolve of one in work, which nobody would go on with', backward, { type: 'resolve' }],
    ['S-5 a resolve of one nobody has begun', begun, { type: 'resolve' }],
    ['S-5 a resolve of an owed fee', owed, { type: 'resolve' }],
  ])('%s', (_, settlement, event) => {
    expect(() => next(settlement, event, 0, PLAN, POLICY)).toThrow("can't come to a settlement that is")
  })

  test('an undo of a leg in doubt, where it must be asked first, and a question about one that is known', () => {
    const doubted = tell(withoutReversals(TWO), ['applied', ...times(4, 'lost')]).settlement
    const known = tell(withoutReversals(TWO), ['applied', 'refused']).settlement
    const undone = answerTo(1, ANSWERS.applied, 'undo')
    expect(() => next(doubted, undone, 0, withoutReversals(TWO), POLICY)).toThrow('an answer to undo step 1')
    const asked = answerTo(0, ANSWERS.applied)
    expect(() => next(known, asked, 0, withoutReversals(TWO), POLICY)).toThrow('an answer to apply step 0')
  })

  test('an answer to a step there is not', () => {
    expect(() => next(begun, answerTo(7, ANSWERS.applied), 0, PLAN, POLICY)).toThrow('no step 7 in a settlement of 3')
  })
})
