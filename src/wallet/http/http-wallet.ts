/**
 * A wallet that is somebody else's service: the wallet protocol over HTTP, at whatever level it says it has. Each call is
 * sent at most once; whether it is made again, and when, is decided by the settlement machine alone.
 */
import type { Clock } from '../../clock.ts'
import type { Asset } from '../../core/market.ts'
import type { Logger } from '../../log.ts'
import { keyFault, withoutHolds } from '../protocol.ts'
import type { Capabilities, Hold, Outcome, Release, SettlementCall, Wallet } from '../wallet.ts'
import { readBalance } from './balance.ts'
import { type Call, type Calls, createCalls, WalletUnavailableError } from './calls.ts'
import { capabilitiesSign, coarserAssets, readCapabilities } from './capabilities.ts'
import type { CircuitState } from './circuit.ts'
import { type Asked, readNotTaken } from './outcomes.ts'
import { createPipelinedTransport } from './pipelined-transport.ts'
import {
  type BatchItem,
  balanceRequest,
  batchRequest,
  CAPABILITIES_REQUEST,
  holdRequest,
  operationRequest,
  releaseRequest,
  reversalRequest,
  settlementsRequest,
} from './requests.ts'
import { createTogether } from './together.ts'
import type { HttpTransport } from './transport.ts'

export interface HttpWalletOptions {
  readonly url: string
  /** A secret: it goes to the wallet and nowhere else. */
  readonly token: string | null
  /** By code; may grow while it works. Amounts are written and read with their places. */
  readonly instruments: { readonly assets: ReadonlyMap<string, Asset> }
  /** For one call, from its sending to the end of its answer. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Logger
  /** False: the wallet does not recognise a repeated key, so no call shares a request or a connection with another. */
  readonly idempotent?: boolean
  /** Told when no call is sent any more, since the wallet can't be reached or does not let us in, and when they are again. */
  onAway?(isAway: boolean): void
  /** Another than our own, for tests. */
  readonly transport?: HttpTransport
}

export { WalletUnavailableError } from './calls.ts'

export interface HttpWallet extends Wallet {
  /** Throws `WalletUnavailableError` where the wallet does not say. How calls travel follows from what it said last. */
  capabilities(): Promise<Capabilities>
  /** Throws the same where the wallet does not tell. */
  balance: Wallet['balance']
  circuit(): CircuitState
  close(): void
}

export function createHttpWallet(options: HttpWalletOptions): HttpWallet {
  const { url, timeoutMs, clock, log, idempotent = true } = options
  const { assets } = options.instruments
  const transport = options.transport ?? createTransport(options)
  const onAway = (isAway: boolean): void => options.onAway?.(isAway)
  const calls = createCalls({ transport, url, assets, timeoutMs, clock, log, onAway })
  let ways = waysOf({ level: 'basic', holds: false, batchMax: 1, settlementsMax: 1 }, calls, assets)
  let isWarned = false

  /** Sends what is in order. Of an unknown asset no amount can be written: that is a bug of ours. */
  function checked<Done>(
    key: string,
    currencies: readonly string[],
    send: () => Promise<Outcome<Done>>,
  ): Promise<Outcome<Done>> {
    const unknown = currencies.find(currency => !assets.has(currency))
    if (unknown !== undefined) return Promise.reject(new Error(`the places of ${unknown} are not known`))
    const fault = keyFault(key)
    return fault === null ? send() : Promise.resolve({ outcome: 'refused', ...fault })
  }

  return {
    async capabilities() {
      const answer = readCapabilities(await calls.ask(CAPABILITIES_REQUEST, capabilitiesSign))
      if ('code' in answer) throw new WalletUnavailableError(answer.code, `the wallet at ${url}: ${answer.detail}`)
      const coarser = coarserAssets(answer.scales, assets)
      if (coarser.length > 0 && !isWarned) {
        log.warn(
          { wallet_url: url, assets: coarser },
          'the wallet keeps fewer places of these, and refuses amounts with more',
        )
        isWarned = true
      }
      // A call of one that may be made only once is not put where another's fate is also its own.
      ways = waysOf(idempotent ? answer.capabilities : { ...answer.capabilities, batchMax: 1 }, calls, assets)
      return answer.capabilities
    },
    // outcomes.ts reads the answer to each as what it is.
    apply(operation) {
      const { key, currency } = operation
      return checked(key, [currency], () => ways.perform({ operation }) as ReturnType<Wallet['apply']>)
    },
    settle(settlement) {
      const currencies = settlement.legs.map(leg => leg.currency)
      return checked(settlement.key, currencies, () => ways.settle(settlement) as ReturnType<Wallet['settle']>)
    },
    reverse: key => checked(key, [], () => ways.perform({ reversal: key }) as ReturnType<Wallet['reverse']>),
    hold: hold => checked(hold.key, [hold.currency], () => ways.hold(hold) as ReturnType<Wallet['hold']>),
    release: release => checked(release.key, [], () => ways.release(release) as ReturnType<Wallet['release']>),
    async balance(userId, currency) {
      const scale = assets.get(currency)?.scale
      if (scale === undefined) return null
      const sent = await calls.ask(balanceRequest(userId, currency), () => 'none')
      return readBalance(sent, userId, currency, scale)
    },
    circuit: () => calls.circuit(),
    close: () => calls.close(),
  }
}

function createTransport({ url, token, clock, log, idempotent = true }: HttpWalletOptions): HttpTransport {
  const headers = { Accept: 'application/json', ...(token === null ? {} : { Authorization: `Bearer ${token}` }) }
  return createPipelinedTransport({ url, headers, clock, log, isPipelined: idempotent })
}

/** How calls travel to a wallet of some level. */
interface Ways {
  perform(item: BatchItem): Promise<Outcome>
  settle(settlement: SettlementCall): Promise<Outcome>
  /** Holds have no calls that carry many; they share connections. */
  hold(hold: Hold): Promise<Outcome>
  release(release: Release): Promise<Outcome>
}

function waysOf(capabilities: Capabilities, calls: Calls, assets: ReadonlyMap<string, Asset>): Ways {
  const { level, holds, batchMax, settlementsMax } = capabilities
  const keyed = (key: string, request: Call, asked: Asked): Promise<Outcome> =>
    isTransportable(key) ? calls.single(request, asked) : Promise.resolve(UNTRANSPORTABLE)
  const alone = (item: BatchItem): Promise<Outcome> => {
    if ('reversal' in item) return calls.single(reversalRequest(item.reversal), askedOf(item))
    const { operation } = item
    return keyed(operation.key, operationRequest(operation, assets), askedOf(item))
  }
  const isBatched = (level === 'batch' || level === 'settlements') && batchMax > 1
  return {
    perform: isBatched
      ? createTogether({
          max: batchMax,
          keyOf: item => ('reversal' in item ? item.reversal : item.operation.key),
          perform: items => calls.together(batchRequest(items, assets), items.map(askedOf)),
          performAlone: alone,
        })
      : alone,
    settle:
      level === 'settlements'
        ? createTogether({
            max: settlementsMax,
            keyOf: settlement => settlement.key,
            perform: settlements => {
              const asked = settlements.map(({ key }): Asked => ({ kind: 'settlement', key }))
              return calls.together(settlementsRequest(settlements, assets), asked)
            },
            performAlone: async () => readNotTaken().outcome,
          })
        : () => Promise.reject(new Error(`a wallet of level ${level} takes no settlements`)),
    hold: holds
      ? hold => keyed(hold.key, holdRequest(hold, assets), { kind: 'hold', hold })
      : () => Promise.reject(withoutHolds()),
    release: holds
      ? release => keyed(release.key, releaseRequest(release), { kind: 'release', release })
      : () => Promise.reject(withoutHolds()),
  }
}

function askedOf(item: BatchItem): Asked {
  return 'reversal' in item
    ? { kind: 'reversal', key: item.reversal }
    : { kind: 'operation', operation: item.operation }
}

/** A header loses the spaces at its ends: the key that arrived would be another one. */
function isTransportable(key: string): boolean {
  return key === key.trim()
}

const UNTRANSPORTABLE: Outcome = {
  outcome: 'refused',
  code: 'INVALID_REQUEST',
  detail: 'a key in a header neither begins nor ends with a space',
}
