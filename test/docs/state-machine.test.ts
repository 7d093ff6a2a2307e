/**
 * Holds docs/state-machine.md and the settlement machine equal: every row of its tables is a call of `next`. When it is
 * stale: LEGWORK_TEST_UPDATE=1 npx vitest run test/docs/state-machine.test.ts
 */
import { expect, test } from 'vitest'
import type { RetryPolicy } from '../../src/core/backoff.ts'
import {
  type Answer,
  type Effect,
  type Event,
  newSettlement,
  next,
  type Plan,
  type Settlement,
} from '../../src/core/settlement.ts'
import { expectGenerated, remakeCommand } from '../support/generated.ts'

const TEST = 'test/docs/state-machine.test.ts'

const POLICY: RetryPolicy = {
  retryMaxAttempts: 3,
  retryBackoffMs: 1_000,
  retryMaxBackoffMs: 30_000,
  retryJitter: 0,
  undoMaxAttempts: 10,
  undoBackoffMs: 1_000,
  undoSlowRetryMs: 60_000,
}
/** Under it every call is the last that may be made. */
const NONE_LEFT: RetryPolicy = { ...POLICY, retryMaxAttempts: 0, undoMaxAttempts: 1 }

const LEGS = ['buyer-debit', 'buyer-credit', 'seller-debit', 'seller-credit', 'fee'] as const
const REVERSALS: Plan = { rail: 'saga', steps: LEGS, undo: 'reversal', repeatable: true }
const OPPOSITE: Plan = { rail: 'saga', steps: LEGS, undo: 'opposite', repeatable: true }
const FORGETFUL: Plan = { rail: 'saga', steps: LEGS, undo: 'opposite', repeatable: false }
const ATOMIC: Plan = { rail: 'atomic', steps: ['settlement'], undo: 'reversal', repeatable: true }

// Events

const BEGIN: Event = { type: 'begin', resumed: false }
const RESUMED: Event = { type: 'begin', resumed: true }
const DUE: Event = { type: 'due' }
const REQUEUE: Event = { type: 'requeue' }
const RESOLVE: Event = { type: 'resolve' }

type Outcome = Answer['outcome']

function answer(call: 'apply' | 'undo', step: number, outcome: Outcome): Event {
  const said = { code: outcome.toUpperCase(), detail: '', reached: true, retryAfterMs: null }
  const known: Answer = outcome === 'applied' ? { outcome } : { outcome, ...said }
  return { type: 'answer', call, step, answer: known, random: 0.5 }
}

// Settlements to ask about: what the machine itself makes of what happened before

interface Story {
  readonly plan: Plan
  readonly settlement: Settlement
  /** The step whose call was made last, if any: the one an answer is for. */
  readonly step: number
}

const begin = (plan: Plan): Story => go({ plan, settlement: newSettlement(plan), step: 0 }, BEGIN)

function go({ plan, settlement, step }: Story, event: Event, policy = POLICY): Story {
  const decided = next(settlement, event, 0, plan, policy)
  const call = decided.effects.find(effect => effect.type === 'apply' || effect.type === 'undo')
  return { plan, settlement: decided.settlement, step: call?.step ?? step }
}

const apply = (story: Story, outcome: Outcome, policy?: RetryPolicy): Story =>
  go(story, answer('apply', story.step, outcome), policy)
const undo = (story: Story, outcome: Outcome): Story => go(story, answer('undo', story.step, outcome))

function applied(plan: Plan, count: number): Story {
  let story = begin(plan)
  for (let done = 0; done < count; done++) story = apply(story, 'applied')
  return story
}

// Rows

/** What happens (`call` of the step the story stands at, or an event), and whether no retry is left for it. */
type Happening = readonly [
  when: string,
  what: Event | readonly ['apply' | 'undo', Outcome],
  story?: Story | undefined,
  policy?: RetryPolicy,
]

interface Situation {
  readonly name: string
  readonly story: Story
  readonly happenings: readonly Happening[]
}

interface Row {
  readonly situation: string
  readonly when: string
  readonly from: string
  /** Null: the pair is impossible, and `next` throws. */
  readonly to: string | null
  readonly does: string
}

function situations(plan: Plan): readonly Situation[] {
  const isSaga = plan.rail === 'saga'
  const forward = applied(plan, isSaga ? 2 : 0)
  // Turned with a leg that was refused on the saga rail; on the atomic one only what got no answer is turned.
  const turned = isSaga ? apply(forward, 'refused') : apply(forward, 'unanswered', NONE_LEFT)
  const last = isSaga ? undo(turned, 'applied') : turned
  const parked = undo(turned, 'refused')
  const slowly = go(parked, DUE)
  const parkedLast = isSaga ? undo(slowly, 'applied') : slowly
  const requeued = go(go(parked, REQUEUE), DUE)
  const lastRequeued = isSaga ? undo(requeued, 'applied') : requeued
  const held = go(parked, RESOLVE)
  const failed = undo(last, 'applied')
  const always: readonly Happening[] = [
    ['begin', BEGIN],
    ['due', DUE],
    ['begin, after a process that vanished', RESUMED],
  ]
  const byOperator: readonly Happening[] = [
    ['requeue', REQUEUE],
    ['resolve', RESOLVE],
  ]
  const applying: readonly Happening[] = [
    ['applied', ['apply', 'applied']],
    ['refused', ['apply', 'refused']],
    ['deferred', ['apply', 'deferred']],
    ['deferred, no retry left', ['apply', 'deferred'], undefined, NONE_LEFT],
    ['unanswered', ['apply', 'unanswered']],
    ['unanswered, no retry left', ['apply', 'unanswered'], undefined, NONE_LEFT],
    ['fault', ['apply', 'fault']],
  ]
  const undoing: readonly Happening[] = [
    ['undo applied', ['undo', 'applied']],
    ['undo refused', ['undo', 'refused']],
    ['undo deferred', ['undo', 'deferred']],
    ['undo deferred, no attempt left', ['undo', 'deferred'], undefined, NONE_LEFT],
    ['undo unanswered', ['undo', 'unanswered']],
    ['undo unanswered, no attempt left', ['undo', 'unanswered'], undefined, NONE_LEFT],
    ['undo fault', ['undo', 'fault']],
  ]
  const lastUndone = (story: Story): readonly Happening[] =>
    isSaga ? [['last undo applied', ['undo', 'applied'], story]] : []
  const anew: Happening = ['last undo applied, requeued', ['undo', 'applied'], lastRequeued]
  const all = [...always, ...applying, ...undoing, ...byOperator]
  const stands = isSaga ? `\`${plan.steps[forward.step]}\` is called` : 'the one call is made'
  return [
    { name: `forward, ${stands}`, story: forward, happenings: [...all, ...forwardOnly(forward)] },
    ...(isSaga ? feeSituations(plan, all) : []),
    { name: 'settled', story: applied(plan, plan.steps.length), happenings: all },
    ...(asksFirst(plan) ? [asking(forward, all)] : []),
    { name: 'backward', story: turned, happenings: [...all, ...lastUndone(last), anew] },
    { name: 'parked', story: slowly, happenings: [...all, ...lastUndone(parkedLast)] },
    { name: 'parked, held', story: held, happenings: [...always, ...byOperator] },
    { name: 'failed', story: failed, happenings: all },
  ]
}

const asksFirst = (plan: Plan): boolean => plan.undo === 'opposite' && plan.repeatable

/** What only the first leg, a leg in doubt, or a recorded call can show. */
function forwardOnly(forward: Story): readonly Happening[] {
  const { plan } = forward
  if (plan.rail === 'atomic') return []
  const happenings: Happening[] = [['first leg refused', ['apply', 'refused'], begin(plan)]]
  if (asksFirst(plan)) {
    const inDoubt = go(apply(forward, 'unanswered'), DUE)
    happenings.push(
      ['refused, in doubt', ['apply', 'refused'], inDoubt],
      ['refused, in doubt, no retry left', ['apply', 'refused'], inDoubt, NONE_LEFT],
      ['refused again, in doubt', ['apply', 'refused'], go(apply(inDoubt, 'refused'), DUE)],
    )
  }
  if (!plan.repeatable) happenings.push(['due, after it was deferred', DUE, apply(forward, 'deferred')])
  return happenings
}

function feeSituations(plan: Plan, all: readonly Happening[]): readonly Situation[] {
  const atFee = applied(plan, LEGS.length - 1)
  const owed = go(apply(atFee, 'deferred'), DUE)
  const refused = apply(atFee, 'refused')
  const inDoubt = apply(atFee, 'unanswered', NONE_LEFT)
  return [
    { name: 'forward, `fee` is called', story: atFee, happenings: all },
    { name: 'settled, fee owed', story: owed, happenings: all },
    {
      name: 'settled, fee parked',
      story: refused,
      happenings: [
        ...all.filter(([when]) => when !== 'requeue'),
        ['requeue of a fee that was refused', REQUEUE],
        ['requeue of a fee in doubt', REQUEUE, inDoubt],
      ],
    },
  ]
}

/** Without reversals: what became of the leg is asked before anything is undone. */
function asking(forward: Story, all: readonly Happening[]): Situation {
  const doubted = apply(forward, 'unanswered', NONE_LEFT)
  const refusedOnce = go(apply(doubted, 'refused'), DUE)
  const again: Happening = ['refused again', ['apply', 'refused'], refusedOnce]
  return { name: `backward, \`${LEGS[doubted.step]}\` is in doubt`, story: doubted, happenings: [...all, again] }
}

function rowsOf(plan: Plan): readonly Row[] {
  return situations(plan).flatMap(({ name, story: usual, happenings }) =>
    happenings.map(([when, what, story = usual, policy = POLICY]): Row => {
      const event = 'type' in what ? what : answer(what[0], story.step, what[1])
      const from = stateOf(story.settlement)
      const given = { situation: name, when, from }
      try {
        const { settlement, effects } = next(story.settlement, event, 0, plan, policy)
        const learnt = changes(plan, story.settlement, settlement)
        const does = [...learnt, ...effects.map(effect => wordsOf(effect, plan))].join(', ')
        return { ...given, to: stateOf(settlement), does }
      } catch (error) {
        if (!(error instanceof Error && error.message.includes("can't come to a settlement"))) throw error
        return { ...given, to: null, does: '' }
      }
    }),
  )
}

function stateOf({ phase, fee, held, rollback, requeued }: Settlement): string {
  switch (phase) {
    case 'forward':
      return 'forward'
    case 'settled':
      return fee === 'none' ? 'settled' : `settled, fee ${fee}`
    case 'backward':
      return requeued ? 'backward, then anew' : 'backward'
    case 'parked':
      return held ? 'parked, held' : 'parked'
    case 'failed':
      return rollback === 'complete' ? 'failed, rollback complete' : 'failed, nothing to roll back'
  }
}

function changes(plan: Plan, before: Settlement, after: Settlement): readonly string[] {
  if (after.epoch > before.epoch) return ['new keys (epoch + 1)']
  if (after.feeEpoch > before.feeEpoch) return ['a new key for the fee (fee epoch + 1)']
  const doubted = plan.steps.filter((_, at) => after.steps[at]?.inDoubt === true && before.steps[at]?.inDoubt !== true)
  return doubted.length === 0 ? [] : [`doubt ${doubted.map(name => `\`${name}\``).join(' and ')}`]
}

function wordsOf(effect: Effect, plan: Plan): string {
  switch (effect.type) {
    case 'save':
      return 'save'
    case 'apply':
      return `apply \`${plan.steps[effect.step]}\``
    case 'undo':
      return `${effect.how === 'reversal' ? 'reverse' : 'undo'} \`${plan.steps[effect.step]}\``
    case 'wait':
      return effect.untilMs === 0 ? 'go on at once' : 'wait'
    case 'finish':
      if (effect.againAtMs === null) return 'rest'
      return effect.againAtMs === 0 ? 'rest, go on at once' : 'rest, go on later'
  }
}

// The document

const REVERSE = /reverse|undo/g
const idOf = (row: Row): string => `${row.situation}|${row.when}|${row.to}|${row.does.replaceAll(REVERSE, 'undo')}`

/** Of the rows only those that are not as in the other table. */
function differing(rows: readonly Row[], from: readonly Row[]): readonly Row[] {
  const known = new Set(from.map(idOf))
  return rows.filter(row => !known.has(idOf(row)))
}

/** Rows of one situation with the same end are one line; the situation is named once. */
function table(rows: readonly Row[]): string {
  const lines = ['| phase | what happens | next phase | what is done |', '| --- | --- | --- | --- |']
  for (const [situation, ofSituation] of Map.groupBy(rows, row => row.situation)) {
    let name = `**${situation}**`
    const sorted = [...ofSituation.filter(row => row.to !== null), ...ofSituation.filter(row => row.to === null)]
    for (const [, same] of Map.groupBy(sorted, ({ to, does }) => `${to}|${does}`)) {
      const [{ to, does } = { to: null, does: '' }] = same
      const whens = to === null ? impossible(same) : briefly(same.map(row => row.when))
      lines.push(
        `| ${name} | ${whens.join('; ')} | ${to ?? '—'} | ${to === null ? 'throws: a bug of the caller' : does} |`,
      )
      name = ''
    }
  }
  return lines.join('\n')
}

/** Without the special cases of what stands there in general: of `begin; begin, after …` only `begin`. */
function briefly(whens: readonly string[]): readonly string[] {
  return whens.filter(when => !whens.some(general => when.startsWith(`${general},`)))
}

/** What can't happen, in few words: no phase takes only some answers to a call. */
function impossible(rows: readonly Row[]): readonly string[] {
  const words = rows.map(({ when }) => {
    if (when.startsWith('undo')) return 'an answer to an undo'
    return when === 'requeue' || when === 'resolve' ? when : 'an answer to an apply'
  })
  return [...new Set(words)]
}

/** The diagram's states, in the order they are drawn. */
const NODES: Readonly<Record<string, string>> = {
  forward: 'forward',
  settled: 'settled',
  'settled, fee owed': 'fee_owed',
  'settled, fee parked': 'fee_parked',
  backward: 'backward',
  parked: 'parked',
  'parked, held': 'held',
  failed: 'failed',
}

function nodeOf(state: string): string {
  const node = NODES[state] ?? NODES[state.replace(/,.*/, '')]
  if (node === undefined) throw new Error(`${state} has no place in the diagram`)
  return node
}

/** Every way from one phase to another that some row takes. */
function diagram(rows: readonly Row[]): string {
  const edges = new Map<string, Set<string>>()
  for (const { from, to, when } of rows) {
    if (to === null || nodeOf(from) === nodeOf(to)) continue
    const edge = `${nodeOf(from)} --> ${nodeOf(to)}`
    const what = /no (retry|attempt) left/.exec(when)?.[0] ?? when.replace(/ of .*/, '')
    edges.set(edge, (edges.get(edge) ?? new Set()).add(what))
  }
  const order = Object.values(NODES)
  const rank = (edge: string): number => order.indexOf(edge.replace(/ .*/, ''))
  const sorted = [...edges].sort(([a], [b]) => rank(a) - rank(b))
  return [
    'stateDiagram-v2',
    '  fee_owed: settled, fee owed',
    '  fee_parked: settled, fee parked',
    '  held: parked, held',
    '  [*] --> forward',
    ...sorted.map(([edge, whens]) => `  ${edge}: ${[...whens].join(' / ')}`),
  ].join('\n')
}

function document(): string {
  const reversals = rowsOf(REVERSALS)
  const opposite = rowsOf(OPPOSITE)
  const forgetful = rowsOf(FORGETFUL)
  const atomic = rowsOf(ATOMIC)
  return `# The settlement machine

<!-- Made by test/docs/state-machine.test.ts, which calls the machine for every row. To make it anew:
     ${remakeCommand(TEST)} -->

What follows for one trade from each thing that can happen to it: the function \`next\` of
[src/core/settlement.ts](../src/core/settlement.ts), row by row. The worker does what is done, from left to right, and hands back
what came of it.

\`\`\`mermaid
${diagram(reversals)}
\`\`\`

The diagram shows the saga on a wallet that keeps reversals; where another wallet makes a
difference, its table says so. What is not drawn stays in its phase.

**What happens.** *begin*: a worker took the settlement up. *due*: a wait is over. *applied*, *refused*, *deferred* (this call was not
taken), *unanswered* (perhaps done) and *fault* (the key has moved other money) are answers to the call of a leg, or, with *undo* in
front, to the call that takes it back. *No retry left*: it was the last call the policy allows; a wallet that can't be reached at
all uses up none. *requeue* and *resolve* are an operator's.

**What is done.** *apply*, *reverse* and *undo* are calls to the wallet. *doubt*: this leg counts as perhaps applied from now on.
*save*: store it, before what follows. *wait*: store it, give the lease back and go on later with *due*. *rest*: store it as at rest in
its phase.

## Saga, the wallet keeps reversals

The legs are \`${LEGS.slice(0, -1).join('`, `')}\` and \`fee\`; the machine stands at \`seller-debit\`.

${table(reversals)}

## Saga, the wallet has no reversals

An undo is the opposite operation, under a key of its own. The leg in doubt is first repeated under its key until its answer is known; a
refusal while it is in doubt is believed when it comes a second time. Only the rows that differ:

${table(differing(opposite, reversals))}

## Saga, the wallet forgets keys

No call may be made twice, so each is stored before it is sent, and what is stored without an answer stops everything
(\`idempotent: false\`). Only the rows that differ from the first table:

${table(differing(forgetful, reversals))}

## Atomic

One call for all legs, the fee among them.

${table(atomic)}
`
}

test('docs/state-machine.md is what the machine does', async () => {
  await expectGenerated('docs/state-machine.md', document(), TEST)
})

test('every phase is shown, and every way into one', () => {
  const rows = [REVERSALS, OPPOSITE, FORGETFUL, ATOMIC].flatMap(rowsOf)
  const states = new Set(rows.map(row => nodeOf(row.from)))
  expect([...states].sort()).toEqual(Object.values(NODES).sort())
  for (const { to } of rows) if (to !== null) expect(states).toContain(nodeOf(to))
})
