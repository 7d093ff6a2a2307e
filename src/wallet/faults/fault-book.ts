import { type FaultAction, type FaultRule, matches, type WalletCall } from './rules.ts'

/** A fault that was applied to a call. `hasArrived`: of a late call, the moment it had its effect. */
export interface AppliedFault {
  readonly atMs: number
  /** The rule's place in the script, from 0. */
  readonly rule: number
  readonly call: WalletCall
  readonly attempt: number
  readonly action: FaultAction
  readonly hasArrived: boolean
}

/** A script at work: its rules, what they have been asked, and what they have done. */
export interface FaultBook {
  readonly rules: readonly FaultRule[]
  /** Counts a call and says what goes wrong with it: the first rule that matches. Null: nothing does. */
  decide(call: WalletCall, nowMs: number): AppliedFault | null
  /** Notes that a late call has had its effect. */
  arrived(fault: AppliedFault, nowMs: number): void
  /** The last ones, oldest first. */
  log(): readonly AppliedFault[]
  counts(): { readonly calls: number; readonly applied: number }
}

/** Of the log; older ones are forgotten. */
const MOST_LOGGED = 10_000

/** Keeps a counter for each key and call that it was asked about. */
export function createFaultBook(rules: readonly FaultRule[], startedAtMs: number): FaultBook {
  const attempts = new Map<string, number>()
  const times = rules.map(() => 0)
  let logged: AppliedFault[] = []
  let calls = 0
  let applied = 0

  function note(fault: AppliedFault): void {
    logged.push(fault)
    // Cut back by halves, so that most notes cost nothing more.
    if (logged.length >= 2 * MOST_LOGGED) logged = logged.slice(-MOST_LOGGED)
  }

  return {
    rules,
    decide: (call, nowMs) => {
      calls++
      const name = `${call.call} ${call.key}`
      const attempt = (attempts.get(name) ?? 0) + 1
      attempts.set(name, attempt)
      const counted = { ...call, attempt, count: calls, sinceStartMs: nowMs - startedAtMs }
      const index = rules.findIndex((rule, at) => matches(rule, at, counted, times[at] ?? 0))
      const rule = rules[index]
      if (rule === undefined) return null
      times[index] = (times[index] ?? 0) + 1
      applied++
      const fault = { atMs: nowMs, rule: index, call, attempt, action: rule.action, hasArrived: false }
      note(fault)
      return fault
    },
    arrived: (fault, nowMs) => note({ ...fault, atMs: nowMs, hasArrived: true }),
    log: () => logged.slice(-MOST_LOGGED),
    counts: () => ({ calls, applied }),
  }
}
