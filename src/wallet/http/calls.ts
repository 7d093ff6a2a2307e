/** Sends what is asked of a wallet: only where the circuit lets it, once, and with what came back told to both. */
import type { Clock } from '../../clock.ts'
import type { Asset } from '../../core/market.ts'
import type { Logger } from '../../log.ts'
import type { Outcome } from '../wallet.ts'
import { capabilitiesSign } from './capabilities.ts'
import { type CircuitState, createCircuit, type OpenReason } from './circuit.ts'
import { type Asked, type NotTaken, type Reading, readSingle, readTogether, type Sign } from './outcomes.ts'
import { CAPABILITIES_REQUEST } from './requests.ts'
import type { HttpRequest, HttpTransport, Sent } from './transport.ts'

export interface CallsOptions {
  readonly transport: HttpTransport
  readonly url: string
  readonly assets: ReadonlyMap<string, Asset>
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Logger
  /** Told when calls begin to wait, and when they are sent again. */
  onAway?(isAway: boolean): void
}

export type Call = Omit<HttpRequest, 'deadlineMs'>

export interface Calls {
  /** A call of its own. */
  single(call: Call, asked: Asked): Promise<Outcome>
  /** One that carries several; the readings are one for one. */
  together(call: Call, asked: readonly Asked[]): Promise<readonly Reading[] | NotTaken>
  /** One that asks and changes nothing; `signOf` tells what its answer says of the wallet. Throws where it is not sent. */
  ask(call: Call, signOf: (sent: Sent) => Sign): Promise<Sent>
  circuit(): CircuitState
  close(): void
}

/** The wallet did not answer what it was asked: nothing was changed by that. */
export class WalletUnavailableError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

const WAITS: Readonly<Record<OpenReason, { readonly code: string; readonly detail: string }>> = {
  away: { code: 'CIRCUIT_OPEN', detail: "the wallet can't be reached; calls wait until it can" },
  locked_out: { code: 'LOCKED_OUT', detail: 'the wallet does not accept our token; calls wait until it does' },
}

export function createCalls(options: CallsOptions): Calls {
  const { transport, url, assets, timeoutMs, clock, log } = options
  const circuit = createCircuit({
    clock,
    timeoutMs,
    probe: async deadlineMs => capabilitiesSign(await transport.send({ ...CAPABILITIES_REQUEST, deadlineMs })),
    onOpen: reason => {
      if (reason === 'away') log.warn({ wallet_url: url }, WAITS.away.detail)
      else log.error({ wallet_url: url }, WAITS.locked_out.detail)
      options.onAway?.(true)
    },
    onClose: openMs => {
      log.info({ wallet_url: url, waited_ms: openMs }, 'the wallet answers again; work goes on')
      options.onAway?.(false)
    },
  })

  async function exchange<Read>(call: Call, read: (sent: Sent) => Read, signOf: (read: Read) => Sign): Promise<Read> {
    const mark = circuit.mark()
    const sent = await transport.send({ ...call, deadlineMs: timeoutMs })
    const result = read(sent)
    circuit.heard(signOf(result), mark)
    return result
  }

  /** What reading its answer showed of the order on its connection: one that is to its own call proves it. */
  function confirm(sent: Sent, readings: readonly Reading[]): void {
    if (sent.kind !== 'answer') return
    const isOwn = readings.some(reading => reading.isOwn === true)
    if (isOwn || readings.some(reading => reading.isOwn === false)) transport.confirm(sent, isOwn)
  }

  return {
    async single(call, asked) {
      const reason = circuit.openReason()
      if (reason !== null) return waiting(reason).outcome
      const read = (sent: Sent): Reading => {
        const reading = readSingle(sent, asked, { assets, nowMs: clock.now() })
        confirm(sent, [reading])
        return reading
      }
      return (await exchange(call, read, ({ sign }) => sign)).outcome
    },
    async together(call, asked) {
      const reason = circuit.openReason()
      if (reason !== null) return asked.map(() => waiting(reason))
      const read = (sent: Sent): readonly Reading[] | NotTaken => {
        const readings = readTogether(sent, asked, { assets, nowMs: clock.now() })
        if (typeof readings !== 'string') confirm(sent, readings)
        return readings
      }
      return await exchange(call, read, readings => (typeof readings === 'string' ? 'none' : signOfAll(readings)))
    },
    async ask(call, signOf) {
      const reason = circuit.openReason()
      if (reason !== null) throw new WalletUnavailableError(WAITS[reason].code, WAITS[reason].detail)
      return await exchange(call, sent => sent, signOf)
    },
    circuit: () => circuit.state(),
    close() {
      circuit.close()
      transport.close()
    },
  }
}

/** A call that is not sent, since the circuit is open. */
function waiting(reason: OpenReason): Reading {
  const outcome: Outcome<never> = { outcome: 'deferred', ...WAITS[reason], reached: false, retryAfterMs: null }
  return { outcome, sign: 'none', isOwn: null }
}

/** What one request said of the wallet by all its answers. */
function signOfAll(readings: readonly Reading[]): Sign {
  const signs = new Set(readings.map(({ sign }) => sign))
  return (['locked_out', 'alive', 'away'] as const).find(sign => signs.has(sign)) ?? 'none'
}
