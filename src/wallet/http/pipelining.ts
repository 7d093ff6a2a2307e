/**
 * Whether requests may share a connection before they are answered. HTTP/1.1 allows it, and most servers keep the order
 * that it rests on; one that does not would have its answers read as those to other requests, and a refusal names no key
 * by which that could be told. So a server first has to prove it, two requests at a time; one that ends connections with
 * requests on them is given them one at a time for a while; one whose answer was to another request, for good.
 *
 * One request that gets no answer takes those behind it along. So the depth is halved at each such loss and doubled after
 * many answers (as TCP does with its window, RFC 5681): a wallet that often fails costs each call its own failures only.
 */

export interface Pipelining {
  /** How many requests a connection may carry now. */
  depth(nowMs: number): number
  /** An answer to a request that shared its connection was found to be its own. */
  proved(): void
  isProved(): boolean
  /** A request got its own answer, sharing or not. */
  answered(): void
  /** Requests got no answer since one before them got none. */
  lostBehind(nowMs: number): void
  /** A connection ended, or brought garbage, with requests on it and without ever having proved itself. */
  struck(nowMs: number): void
  /** An answer was to another request. */
  misordered(): void
}

/** Connections in a row; one alone may have met a restart. */
const STRIKES = 3
const UNPROVED_DEPTH = 2
/** How long a server that was struck out gets requests one at a time before it may prove itself anew. */
const PENANCE_MS = 60_000
/** Losses within so short a time are of one cause: a wallet that restarts ends all of its connections. */
const ONE_LOSS_MS = 100
/** The depth is doubled after so many times itself of answers. */
const ANSWERS = 32

/** @param onBroken told once, the first time requests go one at a time. */
export function createPipelining(fullDepth: number, onBroken: (why: 'misordered' | 'ended') => void): Pipelining {
  let isProved = false
  let strikes = 0
  let brokenUntilMs = Number.NEGATIVE_INFINITY
  let isTold = false
  let allowed = fullDepth
  let lostAtMs = Number.NEGATIVE_INFINITY
  let answers = 0

  function breakUntil(untilMs: number, why: 'misordered' | 'ended'): void {
    brokenUntilMs = Math.max(brokenUntilMs, untilMs)
    isProved = false
    strikes = 0
    if (!isTold) onBroken(why)
    isTold = true
  }

  return {
    depth: nowMs => (nowMs < brokenUntilMs ? 1 : Math.min(allowed, isProved ? fullDepth : UNPROVED_DEPTH)),
    proved() {
      isProved = brokenUntilMs !== Number.POSITIVE_INFINITY
      strikes = 0
    },
    isProved: () => isProved,
    answered() {
      if (allowed === fullDepth) return
      answers++
      if (answers < allowed * ANSWERS) return
      allowed = Math.min(allowed * 2, fullDepth)
      answers = 0
    },
    lostBehind(nowMs) {
      answers = 0
      if (nowMs - lostAtMs < ONE_LOSS_MS) return
      lostAtMs = nowMs
      allowed = Math.max(1, Math.floor(allowed / 2))
    },
    struck(nowMs) {
      strikes++
      if (strikes >= STRIKES) breakUntil(nowMs + PENANCE_MS, 'ended')
    },
    misordered: () => breakUntil(Number.POSITIVE_INFINITY, 'misordered'),
  }
}
