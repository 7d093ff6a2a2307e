import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../../test/support/virtual-clock.ts'
import { createCircuit } from './circuit.ts'
import type { Sign } from './outcomes.ts'

/** A circuit whose probes are answered as `answers` says, at once or `hang` until the deadline of the probe. */
function rig(answer: () => Sign | 'hang' = () => 'away') {
  const clock = createVirtualClock()
  const startMs = clock.now()
  const probes: number[] = []
  const events: unknown[] = []
  const circuit = createCircuit({
    clock,
    timeoutMs: 5000,
    probe: async deadlineMs => {
      probes.push(clock.now() - startMs)
      const said = answer()
      if (said !== 'hang') return said
      await new Promise<void>(resolve => clock.after(deadlineMs, resolve))
      return 'away'
    },
    onOpen: reason => events.push([reason, clock.now() - startMs]),
    onClose: openMs => events.push(['closed', openMs]),
  })
  return { clock, circuit, probes, events }
}

describe('opens', () => {
  test('at the first call that could not reach the wallet, and asks at once', async () => {
    const { clock, circuit, probes, events } = rig()
    expect([circuit.state(), circuit.openReason()]).toEqual(['closed', null])
    circuit.heard('away', circuit.mark())
    expect([circuit.state(), circuit.openReason()]).toEqual(['half_open', 'away'])
    await clock.quiet()
    expect(circuit.state()).toBe('open')
    expect(probes).toEqual([0])
    expect(events).toEqual([['away', 0]])
  })

  test('not where something succeeded since the call was sent, also within the same millisecond', () => {
    const { circuit } = rig()
    const mark = circuit.mark()
    circuit.heard('alive', mark)
    circuit.heard('away', mark)
    expect(circuit.state()).toBe('closed')
    circuit.heard('away', circuit.mark())
    expect(circuit.state()).not.toBe('closed')
  })

  test('not for an answer that is only strange', () => {
    const { circuit } = rig()
    circuit.heard('none', circuit.mark())
    expect(circuit.state()).toBe('closed')
  })
})

describe('while it is open', () => {
  test('there is one probe at a time, every half second, however long the wallet is away', async () => {
    const { clock, circuit, probes, events } = rig()
    circuit.heard('away', circuit.mark())
    for (let call = 0; call < 1000; call++) circuit.heard('away', circuit.mark())
    await clock.advance(30_000)
    expect(probes).toEqual(Array.from({ length: 61 }, (_, at) => at * 500))
    expect(events).toEqual([['away', 0]])
  })

  test('a probe into silence ends with its second; once a minute one may take as long as a call', async () => {
    const { clock, circuit, probes } = rig(() => 'hang')
    circuit.heard('away', circuit.mark())
    await clock.advance(70_000)
    const gaps = probes.slice(1).map((ms, index) => Math.round((ms - (probes[index] ?? 0)) / 1000))
    expect(gaps).toEqual([...Array(59).fill(1), 5, ...Array(gaps.length - 60).fill(1)])
  })
})

describe('closes', () => {
  test('at the first probe that the wallet answers: within half a second of its return', async () => {
    let isAway = true
    const { clock, circuit, events } = rig(() => (isAway ? 'away' : 'alive'))
    circuit.heard('away', circuit.mark())
    await clock.advance(30_750)
    isAway = false
    await clock.advance(250)
    expect(circuit.state()).toBe('closed')
    expect(events).toEqual([
      ['away', 0],
      ['closed', 31_000],
    ])
  })

  test('at once where only one connection was lost', async () => {
    const { clock, circuit, events } = rig(() => 'alive')
    circuit.heard('away', circuit.mark())
    await clock.quiet()
    expect([circuit.state(), events]).toEqual([
      'closed',
      [
        ['away', 0],
        ['closed', 0],
      ],
    ])
  })

  test('at the success of a call that was under way', async () => {
    const { clock, circuit, probes } = rig()
    const mark = circuit.mark()
    circuit.heard('away', mark)
    circuit.heard('alive', mark)
    expect(circuit.state()).not.toBe('open')
    await clock.advance(5000)
    expect(circuit.state()).toBe('closed')
    expect(probes).toHaveLength(1)
  })
})

describe('401 and 403', () => {
  test('the wallet is asked every five seconds, and told of once', async () => {
    let isLockedOut = true
    const { clock, circuit, probes, events } = rig(() => (isLockedOut ? 'locked_out' : 'alive'))
    for (let call = 0; call < 10; call++) circuit.heard('locked_out', circuit.mark())
    await clock.advance(14_000)
    expect([circuit.state(), circuit.openReason()]).toEqual(['open', 'locked_out'])
    expect(probes).toEqual([5000, 10_000])
    isLockedOut = false
    await clock.advance(1000)
    expect(circuit.state()).toBe('closed')
    expect(events).toEqual([
      ['locked_out', 0],
      ['closed', 15_000],
    ])
  })

  test('a call that was let in before does not close it', () => {
    const { circuit } = rig()
    const mark = circuit.mark()
    circuit.heard('locked_out', mark)
    circuit.heard('alive', mark)
    expect(circuit.openReason()).toBe('locked_out')
  })

  test('a wallet that comes back and does not let us in is a fault of its own', async () => {
    const { clock, circuit, probes, events } = rig(() => 'locked_out')
    circuit.heard('away', circuit.mark())
    await clock.advance(10_000)
    expect(events).toEqual([
      ['away', 0],
      ['locked_out', 0],
    ])
    expect(probes).toEqual([0, 5000, 10_000])
  })
})

test('closed for good, it asks no more', async () => {
  const { clock, circuit, probes } = rig()
  circuit.heard('away', circuit.mark())
  circuit.close()
  await clock.advance(10_000)
  expect(probes).toEqual([0])
  expect(clock.nextMs()).toBeNull()
})
