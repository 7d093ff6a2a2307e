/** Acts out a script of faults on the connections of a wallet's server. */
import type { Clock } from '../../../clock.ts'
import type { AppliedFault, FaultBook } from '../../../wallet/faults/fault-book.ts'
import type { WalletCall } from '../../../wallet/faults/rules.ts'
import type { Answer, Reply } from '../../lean/answer.ts'
import type { Handle } from '../../lean/connection.ts'
import type { WireRequest } from '../../lean/request-reader.ts'
import { refusedItem } from '../items.ts'
import { callsOf, keysTakenBack, type RequestCalls } from './calls-of.ts'
import {
  aboutAnother,
  answerFor,
  cutWithin,
  GATEWAY_TIMEOUT_PROBLEM,
  garbageReply,
  gatewayTimeout,
  problemFor,
  type Told,
} from './replies.ts'

export interface ActingOptions {
  /** The script in force; null: none, and then nothing is looked at. */
  readonly book: () => FaultBook | null
  /** Whether the request brings a key: whoever has none meets no faults either. */
  readonly mayCall: (request: WireRequest) => Promise<boolean>
  readonly closePort: (ms: number) => void
  readonly clock: Clock
}

const WHOLE_CALL: WalletCall = { call: 'batch', key: '', tradeId: null, leg: null }
const CUT: Reply = { raw: '', isCut: true }

/** The handlers of connections, with the faults of the script in front of them. */
export function withFaults(connect: () => Handle, options: ActingOptions): () => Handle {
  const { book, mayCall } = options
  const late = createLateCalls(options.clock)
  return () => {
    const handle = connect()
    return request => {
      const script = book()
      const calls = script === null ? null : callsOf(request)
      if (script === null || calls === null) return handle(request)
      return mayCall(request).then(may => {
        if (!may) return handle(request)
        const effect: Effect = async done => {
          const reply = await handle(done)
          for (const key of keysTakenBack(callsOf(done) ?? calls)) late.release(key)
          return reply
        }
        return new Acting(script, effect, late, options).reply(request, calls)
      })
    }
  }
}

type Effect = (request: WireRequest) => Promise<Reply>

class Acting {
  readonly #script: FaultBook
  readonly #effect: Effect
  readonly #late: LateCalls
  readonly #options: ActingOptions

  constructor(script: FaultBook, effect: Effect, late: LateCalls, options: ActingOptions) {
    this.#script = script
    this.#effect = effect
    this.#late = late
    this.#options = options
  }

  reply(request: WireRequest, calls: RequestCalls): Promise<Reply> {
    if (calls.kind === 'one') return this.#act(this.#decide(calls.call), request, this.#effect)
    const ofWhole = this.#decide(WHOLE_CALL)
    const faults = calls.calls.map(call => (call === null ? null : this.#decide(call)))
    const ofItem = faults.find(fault => fault !== null && !isOfItem(fault)) ?? null
    return this.#act(ofWhole ?? ofItem, request, done => this.#eachItem(done, calls, faults))
  }

  #decide(call: WalletCall): AppliedFault | null {
    return this.#script.decide(call, this.#options.clock.now())
  }

  /** What becomes of a whole request; `effect` is all that it would do without this fault. */
  async #act(fault: AppliedFault | null, request: WireRequest, effect: Effect): Promise<Reply> {
    if (fault === null) return await effect(request)
    const { action } = fault
    switch (action.fault) {
      case 'refuse':
      case 'unauthorized':
        return this.#told(action)
      case 'status':
      case 'retry_after':
        if (action.when === 'after') await effect(request)
        return this.#told(action)
      case 'no_answer':
        if (action.when === 'after') await effect(request)
        return 'silence'
      case 'cut': {
        const reply = action.when === 'before' ? CUT : await effect(request)
        return action.when === 'within' && isAnswer(reply) ? cutWithin(reply) : CUT
      }
      case 'garbage': {
        const reply = action.when === 'after' ? await effect(request) : CUT
        const { what } = action
        if (what === 'bytes' || what === 'html' || what === 'too_large') return garbageReply(what)
        return isAnswer(reply) ? rewritten(reply, said => aboutAnother(said, what)) : reply
      }
      case 'slow': {
        if (action.when === 'before') await this.#pause(action.ms)
        const reply = await effect(request)
        if (action.when === 'after') await this.#pause(action.ms)
        return reply
      }
      case 'late':
        this.#arriveLater(fault, request, effect)
        return action.answer === 'none' ? 'silence' : action.answer === 'cut' ? CUT : gatewayTimeout()
      case 'close_port':
        this.#options.closePort(action.ms)
        return CUT
    }
  }

  /** The items of a call, with the faults that are theirs alone. */
  async #eachItem(
    request: WireRequest,
    { field, items }: Extract<RequestCalls, { kind: 'many' }>,
    faults: readonly (AppliedFault | null)[],
  ): Promise<Reply> {
    const isLeftOut = faults.map(fault => fault !== null && isOfItem(fault) && hasNoEffectNow(fault))
    const reply = await this.#effect(
      isLeftOut.includes(true)
        ? withItems(
            request,
            field,
            items.filter((_, at) => !isLeftOut[at]),
          )
        : request,
    )
    for (const [at, fault] of faults.entries()) {
      if (fault?.action.fault !== 'late' || isLeftOut[at] !== true) continue
      this.#arriveLater(fault, withItems(request, field, [items[at]]), this.#effect)
    }
    if (!isAnswer(reply) || reply.status !== 200) return reply
    return rewritten(reply, said => {
      const done = resultsOf(said)[Symbol.iterator]()
      const results = items.map((item, at) => {
        const result = isLeftOut[at] === true ? null : done.next().value
        return resultWith(faults[at] ?? null, item, result)
      })
      return { results }
    })
  }

  #told(action: Told): Answer {
    return answerFor(action, this.#options.clock.now())
  }

  #arriveLater(fault: AppliedFault, request: WireRequest, effect: Effect): void {
    const { action } = fault
    if (action.fault !== 'late') return
    const arrive = (): void => {
      // Nobody waits for the answer; what it was can be asked of the wallet.
      const arrived = (): void => this.#script.arrived(fault, this.#options.clock.now())
      effect(request).then(arrived, () => {})
    }
    if (action.ms === null) this.#late.afterReversal(fault.call.key, arrive)
    else this.#options.clock.after(action.ms, arrive)
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.#options.clock.after(ms, resolve))
  }
}

/** Whether a fault of one item can be told in that item's result; any other falls on the whole call. */
function isOfItem({ action }: AppliedFault): boolean {
  switch (action.fault) {
    case 'refuse':
    case 'status':
    case 'retry_after':
    case 'late':
      return true
    case 'garbage':
      return action.what.startsWith('other_')
    case 'no_answer':
    case 'cut':
    case 'slow':
    case 'unauthorized':
    case 'close_port':
      return false
  }
}

function hasNoEffectNow({ action }: AppliedFault): boolean {
  return action.fault === 'refuse' || action.fault === 'late' || ('when' in action && action.when === 'before')
}

/** The result of an item with its fault, if it has one that is its own. */
function resultWith(fault: AppliedFault | null, item: unknown, result: unknown): unknown {
  if (fault === null) return result
  const { action } = fault
  switch (action.fault) {
    case 'refuse':
    case 'status':
    case 'retry_after':
      return refusedItem(item, problemFor(action))
    case 'late':
      return refusedItem(item, GATEWAY_TIMEOUT_PROBLEM)
    case 'garbage':
      return aboutAnother(result, action.what)
    case 'no_answer':
    case 'cut':
    case 'slow':
    case 'unauthorized':
    case 'close_port':
      return result
  }
}

function withItems(request: WireRequest, field: string, items: readonly unknown[]): WireRequest {
  const body = Buffer.from(JSON.stringify({ [field]: items }))
  return { ...request, headers: { ...request.headers, 'content-length': `${body.length}` }, body }
}

function isAnswer(reply: Reply): reply is Answer {
  return reply !== 'silence' && 'status' in reply
}

function rewritten(answer: Answer, change: (said: unknown) => unknown): Answer {
  return { ...answer, body: JSON.stringify(change(JSON.parse(answer.body.toString()))) }
}

function resultsOf(said: unknown): readonly unknown[] {
  const results: unknown = typeof said === 'object' && said !== null ? Reflect.get(said, 'results') : []
  return Array.isArray(results) ? results : []
}

/** Calls that wait for the reversal of their key. */
interface LateCalls {
  afterReversal(key: string, arrive: () => void): void
  /** The reversal of the key has been handled. */
  release(key: string): void
}

function createLateCalls(clock: Clock): LateCalls {
  const waiting = new Map<string, (() => void)[]>()
  return {
    afterReversal: (key, arrive) => {
      waiting.set(key, [...(waiting.get(key) ?? []), arrive])
    },
    release: key => {
      const arrivals = waiting.get(key)
      if (arrivals === undefined) return
      waiting.delete(key)
      for (const arrive of arrivals) clock.after(0, arrive)
    },
  }
}
