/**
 * Walks every state the settlement machine can reach against a model wallet that may answer each call in every way it can,
 * with a crash at every point, with messages that arrive late, and with a second worker that takes over while the first
 * goes on (a process that was asleep past its lease). Breadth first, each state once; what a state holds is only what
 * decides the future, so fencing numbers are kept as "is this worker the current one".
 */
import { hash } from 'node:crypto'
import {
  type Answer,
  type Effect,
  type Event,
  keyOf,
  newSettlement,
  next,
  type Plan,
  type Settlement,
} from '../../src/core/settlement.ts'

export interface Exploration {
  readonly plan: Plan
  /** How many workers may be alive at once, and how often an operator retries. */
  readonly workers: 1 | 2
  readonly requeues: number
  /** Whether a message may arrive after its sender gave up waiting. */
  readonly lateArrivals: boolean
}

export interface Explored {
  readonly states: number
  readonly transitions: number
  /** Distinct ends: phase and rollback, or the fee's state. */
  readonly ends: ReadonlySet<string>
}

/** What the wallet did with a key: nothing is said of a key it has not seen (or, at level 0, has refused). */
type KeyState = 'applied' | 'refused' | 'reversed' | 'cancelled'

interface Worker {
  readonly settlement: Settlement
  readonly effects: readonly Effect[]
  readonly isCurrent: boolean
}

interface World {
  readonly stored: Settlement | null
  readonly isLeased: boolean
  readonly isDue: boolean
  readonly workers: readonly Worker[]
  readonly wallet: Readonly<Record<string, KeyState>>
  /** Keys of operations sent and not arrived yet. */
  readonly underWay: readonly string[]
  /** Keys sent; kept only where no call may be made twice. */
  readonly sent: readonly string[]
  readonly requeuesLeft: number
}

const POLICY = {
  retryMaxAttempts: 1,
  retryBackoffMs: 1,
  retryMaxBackoffMs: 1,
  retryJitter: 0,
  undoMaxAttempts: 2,
  undoBackoffMs: 1,
  undoSlowRetryMs: 1,
} as const

const TRADE = 't'

export function explore(exploration: Exploration): Explored {
  const { plan } = exploration
  const first: World = {
    stored: null,
    isLeased: false,
    isDue: true,
    workers: [],
    wallet: {},
    underWay: [],
    sent: [],
    requeuesLeft: exploration.requeues,
  }
  const index = new Map<string, number>([[nameOf(first), 0]])
  const worlds: (World | null)[] = [first]
  const cameFrom: number[][] = [[]]
  const resting: number[] = []
  const ends = new Set<string>()
  let transitions = 0
  for (let at = 0; at < worlds.length; at++) {
    const world = worlds[at] as World
    check(world, plan)
    if (isAtRest(world)) {
      resting.push(at)
      ends.add(endOf(world))
    }
    for (const successor of successors(world, exploration)) {
      transitions++
      const after: World = { ...successor, wallet: forget(successor.wallet, successor) }
      const key = nameOf(after)
      const known = index.get(key)
      if (known !== undefined) cameFrom[known]?.push(at)
      else {
        index.set(key, worlds.length)
        worlds.push(after)
        cameFrom.push([at])
      }
    }
    worlds[at] = isAtRest(world) ? world : null
  }
  const stuck = worlds.length - countReaching(resting, cameFrom)
  if (stuck > 0) throw new Error(`${stuck} of ${worlds.length} states can never come to rest`)
  return { states: worlds.length, transitions, ends }
}

/** How many states have a way to one of the targets. */
function countReaching(targets: readonly number[], cameFrom: readonly (readonly number[])[]): number {
  const reached = new Set(targets)
  const open = [...targets]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const before of cameFrom[at] ?? []) {
      if (reached.has(before)) continue
      reached.add(before)
      open.push(before)
    }
  }
  return reached.size
}

function isAtRest(world: World): boolean {
  return world.workers.length === 0 && !world.isDue && world.underWay.length === 0
}

function endOf({ stored }: World): string {
  if (stored === null) return 'nothing'
  return stored.phase === 'settled' ? `settled, fee ${stored.fee}` : `${stored.phase}, rollback ${stored.rollback}`
}

// What may happen

function successors(world: World, exploration: Exploration): readonly World[] {
  const { plan, workers } = exploration
  const after: World[] = []
  // A lease that ran out may be taken at any time, also while its holder is only slow.
  if ((world.isDue || world.isLeased) && world.workers.length < workers) after.push(claim(world, plan))
  world.workers.forEach((worker, which) => {
    after.push(without(world, which)) // a crash, at this very point
    after.push(...perform(world, worker, which, exploration))
  })
  world.underWay.forEach(key => {
    const arrived: World = { ...world, underWay: world.underWay.filter(other => other !== key) }
    for (const wallet of arrivals(arrived.wallet, key, plan)) after.push({ ...arrived, wallet })
  })
  const { stored } = world
  const canRequeue =
    stored !== null && (stored.phase === 'failed' || stored.phase === 'parked' || stored.fee === 'parked')
  if (canRequeue && world.workers.length === 0 && world.requeuesLeft > 0) {
    const requeued = step(stored, { type: 'requeue' }, plan)
    after.push({
      ...world,
      stored: requeued.settlement,
      isDue: true,
      isLeased: false,
      requeuesLeft: world.requeuesLeft - 1,
    })
  }
  return after
}

function claim(world: World, plan: Plan): World {
  const settlement = world.stored ?? newSettlement(plan)
  const begun = step(settlement, { type: 'begin', resumed: world.isLeased }, plan)
  const others = world.workers.map(worker => ({ ...worker, isCurrent: false }))
  return { ...world, isLeased: true, isDue: true, workers: [...others, { ...begun, isCurrent: true }] }
}

function perform(world: World, worker: Worker, which: number, exploration: Exploration): readonly World[] {
  const [effect, ...rest] = worker.effects
  if (effect === undefined) throw new Error('a worker without an effect to perform')
  switch (effect.type) {
    case 'save':
      if (!worker.isCurrent) return [without(world, which)]
      return [{ ...withWorker(world, which, { ...worker, effects: rest }), stored: bare(worker.settlement) }]
    case 'wait':
      return [worker.isCurrent ? stored(world, worker, which, true) : without(world, which)]
    case 'finish':
      return [worker.isCurrent ? stored(world, worker, which, effect.againAtMs !== null) : without(world, which)]
    case 'apply':
    case 'undo':
      return call(world, worker, which, effect, exploration)
  }
}

function stored(world: World, worker: Worker, which: number, isDue: boolean): World {
  return { ...without(world, which), stored: bare(worker.settlement), isLeased: false, isDue }
}

/** Every way the call may end: what the wallet did, and what of it came back. */
function call(
  world: World,
  worker: Worker,
  which: number,
  effect: Effect & { type: 'apply' | 'undo' },
  { plan, lateArrivals }: Exploration,
): readonly World[] {
  const { settlement } = worker
  const name = plan.steps[effect.step] ?? 'settlement'
  const operation = keyOf(TRADE, settlement, name)
  const isReversal = effect.type === 'undo' && effect.how === 'reversal'
  const key = effect.type === 'undo' && effect.how === 'opposite' ? `${operation}:undo` : operation
  assertAllowed(world, worker, effect, plan)
  if (!plan.repeatable && world.sent.includes(key))
    throw new Error(`${key} is sent twice to a wallet that forgets keys`)
  const sent = plan.repeatable ? world.sent : [...world.sent, key].sort()

  const after: World[] = []
  const goOn = (wallet: World['wallet'], answer: Answer, underWay = world.underWay, keysSent = sent): void => {
    const event: Event = { type: 'answer', call: effect.type, step: effect.step, answer, random: 0.5 }
    const decided = step(settlement, event, plan)
    const changed: World = { ...world, wallet, underWay, sent: keysSent }
    after.push(withWorker(changed, which, { ...decided, isCurrent: worker.isCurrent }))
  }
  const handled = isReversal ? reversals(world.wallet, key) : applications(world.wallet, key, plan)
  for (const { wallet, answer } of handled) {
    // A refusal is an answer: what was refused may be asked again.
    goOn(wallet, answer, world.underWay, answer.outcome === 'refused' ? world.sent : sent)
    goOn(wallet, lost('unanswered', true)) // done, but the answer is lost
  }
  goOn(world.wallet, lost('unanswered', true)) // lost on its way
  goOn(world.wallet, lost('deferred', true), world.underWay, world.sent) // too many requests
  goOn(world.wallet, lost('deferred', false), world.underWay, world.sent) // nobody there
  if (lateArrivals && !isReversal) {
    goOn(world.wallet, lost('unanswered', true), [...new Set([...world.underWay, key])].sort())
  }
  return after
}

const lost = (outcome: 'deferred' | 'unanswered', reached: boolean): Answer => ({
  outcome,
  code: outcome,
  detail: '',
  reached,
  retryAfterMs: null,
})
const refusal = (code: string): Answer => ({ outcome: 'refused', code, detail: '' })

interface Handled {
  readonly wallet: World['wallet']
  readonly answer: Answer
}

/** What the wallet may do with a debit or credit that reaches it. */
function applications(wallet: World['wallet'], key: string, plan: Plan): readonly Handled[] {
  switch (wallet[key]) {
    case 'applied':
      return [{ wallet, answer: { outcome: 'applied' } }]
    case 'refused':
      return [{ wallet, answer: refusal('INSUFFICIENT_BALANCE') }]
    case 'reversed':
    case 'cancelled':
      return [{ wallet, answer: refusal('REVERSED') }]
    default: {
      const isRemembered = plan.undo === 'reversal'
      return [
        { wallet: { ...wallet, [key]: 'applied' }, answer: { outcome: 'applied' } },
        { wallet: isRemembered ? { ...wallet, [key]: 'refused' } : wallet, answer: refusal('INSUFFICIENT_BALANCE') },
      ]
    }
  }
}

function arrivals(wallet: World['wallet'], key: string, plan: Plan): readonly World['wallet'][] {
  return applications(wallet, key, plan).map(handled => handled.wallet)
}

/** A reversal is refused only where it would take back money that is spent; that is not remembered. */
function reversals(wallet: World['wallet'], key: string): readonly Handled[] {
  const answer: Answer = { outcome: 'applied' }
  switch (wallet[key]) {
    case 'applied':
      return [
        { wallet: { ...wallet, [key]: 'reversed' }, answer },
        { wallet, answer: refusal('INSUFFICIENT_BALANCE') },
      ]
    case 'reversed':
    case 'cancelled':
      return [{ wallet, answer }]
    default:
      return [{ wallet: { ...wallet, [key]: 'cancelled' }, answer }]
  }
}

// What must always be true

/** Calls that must never be made, whoever makes them. */
function assertAllowed(world: World, worker: Worker, effect: Effect, plan: Plan): void {
  const { phase, epoch } = worker.settlement
  const isBackward = phase === 'backward' || phase === 'parked'
  if (effect.type === 'undo') {
    const turned = world.stored
    const isDurable =
      turned !== null &&
      (turned.epoch > epoch || turned.phase === 'backward' || turned.phase === 'parked' || turned.phase === 'failed')
    if (!isDurable) throw new Error('an undo before the decision to go backward is durable')
  }
  if (effect.type === 'apply' && isBackward && plan.undo === 'reversal') {
    throw new Error('a leg is applied although the settlement has turned backward')
  }
}

function check({ stored: at, wallet }: World, plan: Plan): void {
  for (const name of plan.steps) {
    const net = netEffect(wallet, name)
    if (net < 0 || net > 1) throw new Error(`${name} counts ${net} times: ${JSON.stringify({ at, wallet })}`)
    if (at?.phase === 'failed' && net !== 0)
      throw new Error(`${name} stays applied in a settlement that failed: ${JSON.stringify({ at, wallet })}`)
    const isDue = name !== 'fee' || at?.fee === 'none'
    if (at?.phase === 'settled' && isDue && net !== 1)
      throw new Error(`${name} is missing from a settled trade: ${JSON.stringify({ at, wallet })}`)
  }
}

/** How often a leg counts in the wallet, over all epochs: once, or not at all. */
function netEffect(wallet: World['wallet'], name: string): number {
  let net = 0
  for (const [key, state] of Object.entries(wallet)) {
    if (state !== 'applied') continue
    const [, , leg = 'settlement', undo] = key.split(':')
    if (leg === name) net += undo === undefined ? 1 : -1
  }
  return net
}

// Small things

/** A state's name: 128 bits of a hash, since the states themselves would fill the memory. */
function nameOf(world: World): string {
  return hash('sha256', JSON.stringify(world), 'base64').slice(0, 22)
}

function step(settlement: Settlement, event: Event, plan: Plan): Pick<Worker, 'settlement' | 'effects'> {
  const decided = next(settlement, event, 0, plan, POLICY)
  return { settlement: bare(decided.settlement), effects: decided.effects }
}

/** Without what decides nothing any more: the words of errors, and attempts of steps whose answer is known. */
function bare(settlement: Settlement): Settlement {
  const isOpen = settlement.phase === 'forward' || settlement.phase === 'settled'
  const steps = settlement.steps.map(each => {
    const counts = isOpen && (each.state === 'waiting' || each.state === 'unanswered')
    return { ...each, attempts: counts ? each.attempts : 0, lastError: null }
  })
  return { ...settlement, failure: null, steps }
}

/** Forgets keys of earlier epochs that nobody can call any more. */
function forget(wallet: World['wallet'], { workers, underWay, stored: at }: World): World['wallet'] {
  const oldest = Math.min(at?.epoch ?? 0, ...workers.map(worker => worker.settlement.epoch))
  const kept = Object.entries(wallet).filter(([key, state]) => {
    const [, epoch = '0'] = key.split(':')
    if (Number(epoch) >= oldest || underWay.includes(key)) return true
    const pair = key.endsWith(':undo') ? key.slice(0, -5) : `${key}:undo`
    return state === 'applied' && wallet[pair] !== 'applied'
  })
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function without(world: World, which: number): World {
  return { ...world, workers: world.workers.filter((_, at) => at !== which) }
}

function withWorker(world: World, which: number, worker: Worker): World {
  return { ...world, workers: world.workers.with(which, worker) }
}
