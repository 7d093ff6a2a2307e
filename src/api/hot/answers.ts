/** Bodies and answers of calls that do not go through the framework, as it reads and writes them. */
import type { Problem } from '../contract.ts'
import { type Answer, JSON_TYPE, PROBLEM_TYPE } from '../lean/answer.ts'
import type { WireRequest } from '../lean/request-reader.ts'
import { isToBeRepeated } from '../problem.ts'
import type { Said } from '../said.ts'

/** Undefined: a body that the routes had better look at themselves, such as one that is no JSON. */
export function jsonOf({ headers, body }: Pick<WireRequest, 'headers' | 'body'>): unknown {
  const type = headers['content-type']
  if (type !== 'application/json' && type !== 'application/json; charset=utf-8') return undefined
  const text = body.toString('utf8')
  // The framework's parser refuses these names, however they are written, and bytes that are no UTF-8 stand as \ufffd.
  if (text.includes('\\') || text.includes('\ufffd')) return undefined
  if (text.includes('"__proto__"') || text.includes('"constructor"')) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function created<Body extends object>(said: Said<Body>): Answer {
  return answered(said, 201)
}

export function answered<Body extends object>(said: Said<Body>, status: 200 | 201 = 200): Answer {
  if ('problem' in said) return refused(said.problem)
  if (!said.isReplayed) return { status, headers: JSON_TYPE, body: JSON.stringify(said.body) }
  return { status: 200, headers: `idempotent-replayed: true\r\n${JSON_TYPE}`, body: JSON.stringify(said.body) }
}

export function refused(problem: Problem): Answer {
  const later = isToBeRepeated(problem) ? 'retry-after: 1\r\n' : ''
  return { status: problem.status, headers: `${later}${PROBLEM_TYPE}`, body: JSON.stringify(problem) }
}
