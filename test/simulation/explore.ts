/**
 * Walks every state the settlement machine can reach against a model wallet that may answer each call in every way it can,
 * with a crash at every point, with messages that arrive late, and with a second worker that takes over while the first
 * goes on (a process that was asleep past its lease). Breadth first, each state once; what a state holds is only what
 * decides the future, so fencing numbers are kept as "is this worker the current one".
 */
import {
  type Answer,
  type Effect,
  type Event,
  keyOf,
  newSettlement,
  next,
  type Plan,
  retryCount,
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

/** A settlement and what is still to be done about it: there is one object for each, so that its number names it. */
interface Decision {
  readonly settlement: Settlement
  readonly effects: readonly Effect[]
  readonly number: number
}

interface Worker {
  readonly decision: Decision
  readonly isCurrent: boolean
}

/** The machine for one plan. It is pure, so a decision is made once; most of the time would go there otherwise. */
interface Machine {
  readonly plan: Plan
  decide(settlement: Settlement, event: Event): Decision
  /** The same settlement with its first effect done. */
  afterFirst(decision: Decision): Decision
  /** The one object for a settlement, and its number. */
  numberOf(settlement: Settlement): number
}

/** What an exploration needs on the way. */
interface Walk extends Exploration {
  readonly machine: Machine
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
  const walk: Walk = { ...exploration, machine: machineOf(plan) }
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
  const index = new Map<string, number>([[nameOf(first, walk), 0]])
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
    for (const successor of successors(world, walk)) {
      transitions++
      const after: World = { ...successor, wallet: forget(successor.wallet, successor) }
      const key = nameOf(after, walk)
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

function successors(world: World, walk: Walk): readonly World[] {
  const { plan, workers, machine } = walk
  const after: World[] = []
  // A lease that ran out may be taken at any time, also while its holder is only slow.
  if ((world.isDue || world.isLeased) && world.workers.length < workers) after.push(claim(world, machine))
  world.workers.forEach((worker, which) => {
    after.push(without(world, which)) // a crash, at this very point
    after.push(...perform(world, worker, which, walk))
  })
  world.underWay.forEach(key => {
    const arrived: World = { ...world, underWay: world.underWay.filter(other => other !== key) }
    for (const wallet of arrivals(arrived.wallet, key, plan)) after.push({ ...arrived, wallet })
  })
  const { stored } = world
  const canRequeue =
    stored !== null && (stored.phase === 'failed' || stored.phase === 'parked' || stored.fee === 'parked')
  if (canRequeue && world.workers.length === 0 && world.requeuesLeft > 0) {
    const requeued = machine.decide(stored, { type: 'requeue' })
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

function claim(world: World, machine: Machine): World {
  const settlement = world.stored ?? newSettlement(machine.plan)
  const decision = machine.decide(settlement, { type: 'begin', resumed: world.isLeased })
  const others = world.workers.map(worker => ({ ...worker, isCurrent: false }))
  return { ...world, isLeased: true, isDue: true, workers: [...others, { decision, isCurrent: true }] }
}

function perform(world: World, worker: Worker, which: number, walk: Walk): readonly World[] {
  const { decision, isCurrent } = worker
  const [effect] = decision.effects
  if (effect === undefined) throw new Error('a worker without an effect to perform')
  switch (effect.type) {
    case 'save':
      if (!isCurrent) return [without(world, which)]
      return [
        {
          ...withWorker(world, which, { decision: walk.machine.afterFirst(decision), isCurrent }),
          stored: decision.settlement,
        },
      ]
    case 'wait':
      return [isCurrent ? stored(world, worker, which, true) : without(world, which)]
    case 'finish':
      return [isCurrent ? stored(world, worker, which, effect.againAtMs !== null) : without(world, which)]
    case 'apply':
    case 'undo':
      return call(world, worker, which, effect, walk)
  }
}

function stored(world: World, worker: Worker, which: number, isDue: boolean): World {
  return { ...without(world, which), stored: worker.decision.settlement, isLeased: false, isDue }
}

/** Every way the call may end: what the wallet did, and what of it came back. */
function call(
  world: World,
  worker: Worker,
  which: number,
  effect: Effect & { type: 'apply' | 'undo' },
  { plan, lateArrivals, machine }: Walk,
): readonly World[] {
  const { settlement } = worker.decision
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
    const decision = machine.decide(settlement, event)
    const changed: World = { ...world, wallet, underWay, sent: keysSent }
    after.push(withWorker(changed, which, { decision, isCurrent: worker.isCurrent }))
  }
  const handled = isReversal ? reversals(world.wallet, key) : applications(world.wallet, key, plan)
  for (const { wallet, answer } of handled) {
    // A refusal is an answer: what was refused may be asked again.
    goOn(wallet, answer, world.underWay, answer.outcome === 'refused' ? world.sent : sent)
    goOn(wallet, LOST) // done, but the answer is lost
    goOn(wallet, LOST_BEHIND)
  }
  goOn(world.wallet, LOST) // lost on its way
  goOn(world.wallet, LOST_BEHIND)
  goOn(world.wallet, BUSY, world.underWay, world.sent)
  goOn(world.wallet, NOBODY, world.underWay, world.sent)
  if (lateArrivals && !isReversal) {
    goOn(world.wallet, LOST, [...new Set([...world.underWay, key])].sort())
  }
  return after
}

const SILENCE = { detail: '', retryAfterMs: null } as const
const LOST: Answer = { outcome: 'unanswered', code: 'TIMEOUT', reached: true, ...SILENCE }
/** The connection was lost with another call: it counts as no attempt. */
const LOST_BEHIND: Answer = { outcome: 'unanswered', code: 'LOST_BEHIND', reached: false, ...SILENCE }
const BUSY: Answer = { outcome: 'deferred', code: 'RATE_LIMITED', reached: true, ...SILENCE }
const NOBODY: Answer = { outcome: 'deferred', code: 'UNREACHABLE', reached: false, ...SILENCE }
const APPLIED: Answer = { outcome: 'applied' }
const REFUSED: Answer = { outcome: 'refused', code: 'INSUFFICIENT_BALANCE', detail: '' }
const REVERSED: Answer = { outcome: 'refused', code: 'REVERSED', detail: '' }

interface Handled {
  readonly wallet: World['wallet']
  readonly answer: Answer
}

/** What the wallet may do with a debit or credit that reaches it. */
function applications(wallet: World['wallet'], key: string, plan: Plan): readonly Handled[] {
  switch (wallet[key] ?? 'unseen') {
    case 'applied':
      return [{ wallet, answer: APPLIED }]
    case 'refused':
      return [{ wallet, answer: REFUSED }]
    case 'reversed':
    case 'cancelled':
      return [{ wallet, answer: REVERSED }]
    case 'unseen': {
      const isRemembered = plan.undo === 'reversal'
      return [
        { wallet: { ...wallet, [key]: 'applied' }, answer: APPLIED },
        { wallet: isRemembered ? { ...wallet, [key]: 'refused' } : wallet, answer: REFUSED },
      ]
    }
  }
}

function arrivals(wallet: World['wallet'], key: string, plan: Plan): readonly World['wallet'][] {
  return applications(wallet, key, plan).map(handled => handled.wallet)
}

/** A reversal is refused only where it would take back money that is spent; that is not remembered. */
function reversals(wallet: World['wallet'], key: string): readonly Handled[] {
  switch (wallet[key] ?? 'unseen') {
    case 'applied':
      return [
        { wallet: { ...wallet, [key]: 'reversed' }, answer: APPLIED },
        { wallet, answer: REFUSED },
      ]
    case 'reversed':
    case 'cancelled':
      return [{ wallet, answer: APPLIED }]
    case 'refused':
    case 'unseen':
      return [{ wallet: { ...wallet, [key]: 'cancelled' }, answer: APPLIED }]
  }
}

// What must always be true

/** Calls that must never be made, whoever makes them. */
function assertAllowed(world: World, worker: Worker, effect: Effect, plan: Plan): void {
  const { settlement } = worker.decision
  const { phase, epoch } = settlement
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
  if (effect.type === 'apply') {
    for (const name of plan.steps.slice(0, effect.step)) {
      const before = world.wallet[keyOf(TRADE, settlement, name)]
      if (before !== 'applied' && before !== 'reversed') {
        throw new Error(`${plan.steps[effect.step]} is sent although ${name}, which comes before it, was never applied`)
      }
    }
  }
}

function check({ stored: at, wallet }: World, plan: Plan): void {
  let before = 1
  for (const name of plan.steps) {
    const net = netEffect(wallet, name)
    if (net < 0 || net > 1) throw new Error(`${name} counts ${net} times: ${JSON.stringify({ at, wallet })}`)
    if (net > before)
      throw new Error(`${name} counts, and the leg before it does not: ${JSON.stringify({ at, wallet })}`)
    before = net
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

const WALLET_NAMES = new WeakMap<World['wallet'], string>()

/** A state's name: short, since there are hundreds of thousands, and the same for the same state however it came about. */
function nameOf(world: World, { machine }: Walk): string {
  const { stored: at, isLeased, isDue, workers, wallet, underWay, sent, requeuesLeft } = world
  const hands = workers.map(({ decision, isCurrent }) => `${decision.number}${isCurrent ? '!' : '?'}`)
  const stored = at === null ? '' : machine.numberOf(at)
  return [stored, isLeased, isDue, hands.join(), nameOfWallet(wallet), underWay.join(), sent.join(), requeuesLeft].join(
    '|',
  )
}

function nameOfWallet(wallet: World['wallet']): string {
  const known = WALLET_NAMES.get(wallet)
  if (known !== undefined) return known
  const name = Object.keys(wallet)
    .sort()
    .map(key => `${key}=${wallet[key]}`)
    .join()
  WALLET_NAMES.set(wallet, name)
  return name
}

function machineOf(plan: Plan): Machine {
  const settlements = new Map<string, Settlement>()
  const numbers = new Map<Settlement, number>()
  const decisions = new Map<string, Decision>()
  const made = new Map<string, Decision>()

  const numberOf = (settlement: Settlement): number => {
    const number = numbers.get(settlement) ?? numbers.size
    numbers.set(settlement, number)
    return number
  }
  const keep = (settlement: Settlement, effects: readonly Effect[]): Decision => {
    const text = JSON.stringify(settlement)
    const kept = settlements.get(text) ?? settlement
    settlements.set(text, kept)
    const name = `${numberOf(kept)} ${JSON.stringify(effects)}`
    const decision = decisions.get(name) ?? { settlement: kept, effects, number: decisions.size }
    decisions.set(name, decision)
    return decision
  }
  return {
    plan,
    numberOf,
    afterFirst: ({ settlement, effects }) => keep(settlement, effects.slice(1)),
    decide: (settlement, event) => {
      const name = `${numberOf(settlement)} ${nameOfEvent(event)}`
      const known = made.get(name)
      if (known !== undefined) return known
      const decided = next(settlement, event, 0, plan, POLICY)
      if (retryCount(decided.settlement) > POLICY.retryMaxAttempts) throw new Error('a leg is retried too often')
      const decision = keep(bare(decided.settlement), decided.effects)
      made.set(name, decision)
      return decision
    },
  }
}

function nameOfEvent(event: Event): string {
  if (event.type === 'begin') return `begin ${event.resumed}`
  if (event.type !== 'answer') return event.type
  const { answer, call: kind, step } = event
  return `${kind} ${step} ${answer.outcome} ${answer.outcome === 'applied' ? '' : answer.code}`
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
  const oldest = Math.min(at?.epoch ?? 0, ...workers.map(({ decision }) => decision.settlement.epoch))
  if (oldest === 0) return wallet
  const kept = Object.entries(wallet).filter(([key, state]) => {
    const [, epoch = '0'] = key.split(':')
    if (Number(epoch) >= oldest || underWay.includes(key)) return true
    const pair = key.endsWith(':undo') ? key.slice(0, -5) : `${key}:undo`
    return state === 'applied' && wallet[pair] !== 'applied'
  })
  return Object.fromEntries(kept)
}

function without(world: World, which: number): World {
  return { ...world, workers: world.workers.filter((_, at) => at !== which) }
}

function withWorker(world: World, which: number, worker: Worker): World {
  return { ...world, workers: world.workers.with(which, worker) }
}
