import type { Store } from '../../src/store/store.ts'
import type { BookedWallet, Outcome, Wallet } from '../../src/wallet/wallet.ts'
import type { Chance } from './chance.ts'
import type { Host, Trip } from './host.ts'

/** What may go wrong at the moment; all of it zero when the faults are over. */
export interface Weather {
  /** Shares of the calls. */
  walletFaults: number
  storeFaults: number
  /** Of all calls to the wallet, for as long as it lasts; null: none lasts. */
  outage: 'away' | 'busy' | 'silent' | null
  /** How late a call may arrive after its sender gave up waiting. */
  readonly latestMs: number
  /** Whether the wallet may refuse a new key for reasons of its own; only where it need not remember what it refused. */
  readonly mayRefuse: boolean
  /** Whether a lease may run out because nobody could renew it. */
  readonly mayFailToRenew: boolean
}

export interface Network {
  readonly host: Host
  readonly chance: Chance
  readonly weather: Weather
  /** Told of every call that reaches the wallet, and of every one that is answered. */
  readonly tell: (what: string) => void
}

/** Before a sender gives up waiting, unless the wallet is only slow. */
const TIMEOUT_MS = 50
const LIMIT = { outcome: 'refused', code: 'LIMIT_REACHED', detail: 'not now' } as const
const SILENCE = { code: 'TIMEOUT', detail: 'no answer came', retryAfterMs: null } as const

/** The wallet as a process sees it through the network. */
export function walletThrough(network: Network, wallet: BookedWallet): Wallet {
  const { chance, weather, host, tell } = network
  const send = <Done>(name: string, key: string, perform: () => Promise<Outcome<Done>>): Promise<Outcome<Done>> => {
    const isRefused = weather.mayRefuse && chance.is(weather.walletFaults / 10)
    const handle = async (): Promise<Outcome<Done>> => {
      const outcome = isRefused && (await wallet.keyRecord(key)) === null ? LIMIT : await perform()
      tell(`${name} ${key} arrives: ${outcome.outcome}${outcome.outcome === 'refused' ? ` ${outcome.code}` : ''}`)
      return outcome
    }
    return host.exchange(handle, walletTrip(network, `${name} ${key}`))
  }
  return {
    ...wallet,
    apply: operation => send('apply', operation.key, () => wallet.apply(operation)),
    settle: settlement => send('settle', settlement.key, () => wallet.settle(settlement)),
    reverse: (...args) => send('reverse', args[0], () => wallet.reverse(...args)),
  }
}

function walletTrip<Done>({ chance, weather, tell }: Network, what: string): Trip<Outcome<Done>> {
  const thereMs = chance.int(1, 15)
  const backMs = thereMs + chance.int(1, 15)
  const told = (fate: string, trip: Trip<Outcome<Done>>): Trip<Outcome<Done>> => {
    tell(`${what} sent: ${fate}`)
    return trip
  }
  const silent = (arrivesAfterMs: number | null): Trip<Outcome<Done>> => ({
    arrivesAfterMs,
    answersAfterMs: TIMEOUT_MS,
    answer: async () => ({ outcome: 'unanswered', reached: chance.is(0.7), ...SILENCE }),
  })
  const deferred = (reached: boolean, retryAfterMs: number | null): Trip<Outcome<Done>> => ({
    arrivesAfterMs: null,
    answersAfterMs: backMs,
    answer: async () => ({ outcome: 'deferred', code: 'BUSY', detail: 'not taken', reached, retryAfterMs }),
  })
  const late = (): Trip<Outcome<Done>> => silent(chance.int(TIMEOUT_MS, TIMEOUT_MS + weather.latestMs))
  if (weather.outage === 'away') return told('nobody there', deferred(false, null))
  if (weather.outage === 'busy') return told('busy', deferred(true, null))
  if (weather.outage === 'silent') return chance.is(0.5) ? told('late', late()) : told('lost on its way', silent(null))
  if (!chance.is(weather.walletFaults))
    return told('fine', { arrivesAfterMs: thereMs, answersAfterMs: backMs, answer: certain })
  switch (chance.int(0, 6)) {
    case 0:
      return told('lost on its way', silent(null))
    case 1:
      return told('its answer is lost', silent(thereMs))
    case 2:
      return told('late', late())
    case 3:
      return told('busy', deferred(true, chance.is(0.3) ? chance.int(1, 5000) : null))
    case 4:
      return told('nobody there', deferred(false, null))
    case 5:
      return told('slow', { arrivesAfterMs: thereMs, answersAfterMs: chance.int(500, 20_000), answer: certain })
    default:
      return told('the client throws', { ...silent(chance.is(0.5) ? thereMs : null), answer: broken })
  }
}

/** The store as a process sees it through the network. */
export function storeThrough(network: Network, store: Store): Store {
  const send = <Answer>(perform: () => Promise<Answer>): Promise<Answer> =>
    network.host.exchange(perform, storeTrip<Answer>(network))
  const surely = <Answer>(perform: () => Promise<Answer>): Promise<Answer> =>
    network.host.exchange(perform, { arrivesAfterMs: 1, answersAfterMs: 2, answer: certain })
  return {
    recordTrades: (...args) => send(() => store.recordTrades(...args)),
    claim: (...args) => send(() => store.claim(...args)),
    record: (...args) => send(() => store.record(...args)),
    renew: (...args) => (network.weather.mayFailToRenew ? send : surely)(() => store.renew(...args)),
    release: (...args) => send(() => store.release(...args)),
    expireLeases: (...args) => send(() => store.expireLeases(...args)),
    nextDueMs: () => send(() => store.nextDueMs()),
    trade: (...args) => send(() => store.trade(...args)),
    statuses: (...args) => send(() => store.statuses(...args)),
    trades: (...args) => send(() => store.trades(...args)),
  }
}

function storeTrip<Answer>({ chance, weather }: Network): Trip<Answer> {
  const thereMs = chance.int(1, 4)
  const backMs = thereMs + chance.int(1, 4)
  if (!chance.is(weather.storeFaults)) return { arrivesAfterMs: thereMs, answersAfterMs: backMs, answer: certain }
  // Not done; or done, and the connection lost before the answer.
  return { arrivesAfterMs: chance.is(0.5) ? thereMs : null, answersAfterMs: backMs, answer: broken }
}

async function certain<Answer>(done: Promise<Answer> | null): Promise<Answer> {
  if (done === null) throw new Error('answered before it arrived')
  return await done
}

async function broken(): Promise<never> {
  throw new Error('connection lost')
}
