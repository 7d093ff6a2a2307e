/**
 * Whether the wallet is called at all. A wallet that can't be reached is asked for its capabilities, twice a second, and
 * every call waits meanwhile without being sent and without counting as an attempt: an outage costs time, and nothing else.
 * One that does not let us in (401, 403) is asked every five seconds.
 *
 * States: `closed` (calls are sent), `open` (they are deferred, until the next probe), `half_open` (a probe is under way;
 * calls are deferred still). A call that could not be sent or got no answer opens the circuit where nothing has succeeded
 * since it was sent; anything that succeeds closes it. One such call is enough, and the first probe leaves at once: to open
 * is cheap then, where the wallet is well, while a second call into a wallet that hangs would count as an attempt, and use
 * up its time. Where many calls are under way, one broken connection opens nothing: others have succeeded since.
 *
 * Not cockatiel's circuit breaker: it lets calls of the user through as its probes, counts what it calls failures without
 * asking whether anything succeeded since they were sent, has one way to be open where we have two, and takes its time from
 * the process's own timers, which a test can't drive.
 */
import type { Clock } from '../../clock.ts'
import type { Sign } from './outcomes.ts'

export type CircuitState = 'closed' | 'open' | 'half_open'

/** Why calls are not sent. */
export type OpenReason = 'away' | 'locked_out'

export interface CircuitOptions {
  readonly clock: Clock
  /** Asks the wallet for its capabilities: whether it works again. Does not reject. */
  probe(deadlineMs: number): Promise<Sign>
  /** Told of every change, with the time it was open when it closes. */
  onOpen(reason: OpenReason): void
  onClose(openMs: number): void
  /** The most time a probe is given, now and then: a wallet may be slow to say what it can do. */
  readonly timeoutMs: number
}

export interface Circuit {
  state(): CircuitState
  /** Null: calls may be sent. */
  openReason(): OpenReason | null
  /** Taken before a call is sent, for `heard`. Counted, not timed: one leg leaves in the millisecond the one before it ended. */
  mark(): number
  /** What came of a call that was sent after `mark`. */
  heard(sign: Sign, mark: number): void
  close(): void
}

/** Between the beginnings of two probes. */
const PROBE_MS: Readonly<Record<OpenReason, number>> = { away: 500, locked_out: 5000 }
/** A probe into silence must not keep the next one waiting; once a minute one may take as long as any call. */
const SHORT_PROBE_MS = 1000
const LONG_PROBE_EVERY = 60

export function createCircuit(options: CircuitOptions): Circuit {
  const { clock, timeoutMs } = options
  let reason: OpenReason | null = null
  let openedAtMs = 0
  let successes = 0
  let isProbing = false
  let probes = 0
  let isEnded = false
  let cancel = (): void => {}

  function open(why: OpenReason): void {
    const isNew = reason === null
    const isWorse = why === 'locked_out' && reason === 'away'
    if (!isNew && !isWorse) return
    reason = why
    if (isNew) {
      openedAtMs = clock.now()
      probes = 0
    }
    options.onOpen(why)
    // Our token was just refused: to ask again at once would only be refused again.
    if (!isProbing) probeAfter(why === 'away' ? 0 : PROBE_MS[why])
  }

  function shut(): void {
    if (reason === null || isEnded) return
    reason = null
    cancel()
    options.onClose(clock.now() - openedAtMs)
  }

  function probeAfter(delayMs: number): void {
    cancel()
    if (isEnded) return
    if (delayMs === 0) void probe()
    else cancel = clock.after(delayMs, () => void probe())
  }

  async function probe(): Promise<void> {
    isProbing = true
    probes++
    const beganMs = clock.now()
    const mark = successes
    const isLong = probes % LONG_PROBE_EVERY === 0
    const sign = await options.probe(isLong ? timeoutMs : Math.min(SHORT_PROBE_MS, timeoutMs))
    isProbing = false
    if (sign === 'alive') shut()
    else heard(sign, mark)
    if (reason !== null) probeAfter(Math.max(beganMs + PROBE_MS[reason] - clock.now(), 1))
  }

  function heard(sign: Sign, mark: number): void {
    if (isEnded) return
    switch (sign) {
      case 'alive':
        successes++
        // A call that was let in says nothing of those that were not.
        if (reason === 'away') shut()
        return
      case 'away':
        if (mark === successes) open('away')
        return
      case 'locked_out':
        open('locked_out')
        return
      case 'none':
        return
    }
  }

  return {
    state: () => (reason === null ? 'closed' : isProbing ? 'half_open' : 'open'),
    openReason: () => reason,
    mark: () => successes,
    heard,
    close() {
      isEnded = true
      cancel()
    },
  }
}
