import type { Asset } from '../../core/market.ts'
import type { Capabilities, WalletLevel } from '../wallet.ts'
import { objectOf, parseObject } from './json.ts'
import type { Sign } from './outcomes.ts'
import type { HttpAnswer, Sent } from './transport.ts'

/** What a wallet says it can do, or why that is not known. */
export type Known =
  | { readonly capabilities: Capabilities; readonly scales: ReadonlyMap<string, number> }
  | { readonly code: string; readonly detail: string }

const LEVELS: readonly WalletLevel[] = ['basic', 'reversals', 'batch', 'settlements']
/** The most that one call carries, whatever a wallet would take: its answer has to fit our limit too. */
const MOST_IN_CALL = 1000
const BASIC: Known = {
  capabilities: { level: 'basic', holds: false, batchMax: 1, settlementsMax: 1 },
  scales: new Map(),
}

/** The answer to `GET /v1/capabilities`: 404 is how a wallet of the lowest level answers. */
export function readCapabilities(sent: Sent): Known {
  switch (sent.kind) {
    case 'not_sent':
      return { code: 'NOT_SENT', detail: `it can't be reached (${sent.code})` }
    case 'lost':
      return { code: sent.code, detail: 'it did not answer properly' }
    case 'answer':
      return readAnswer(sent)
  }
}

/** Whether the answer to such a call shows that the wallet works. */
export function capabilitiesSign(sent: Sent): Sign {
  if (sent.kind !== 'answer') return 'away'
  if (sent.status === 401 || sent.status === 403) return 'locked_out'
  return 'capabilities' in readAnswer(sent) ? 'alive' : 'away'
}

/** The assets of which the wallet keeps fewer places than we do: amounts with more of them it will refuse. */
export function coarserAssets(
  scales: ReadonlyMap<string, number>,
  assets: ReadonlyMap<string, Asset>,
): readonly string[] {
  return [...assets.values()].filter(({ code, scale }) => (scales.get(code) ?? scale) < scale).map(({ code }) => code)
}

function readAnswer({ status, body }: HttpAnswer): Known {
  if (status === 404) return BASIC
  const code = `HTTP_${status}`
  if (status === 401 || status === 403) return { code, detail: `it does not let us in (HTTP status ${status})` }
  if (status < 200 || status >= 300) return { code, detail: `it answers with HTTP status ${status}` }
  const said = parseObject(body) ?? {}
  const levels = said['levels']
  if (said['protocol'] !== 1 || !Array.isArray(levels)) {
    return { code: 'ANSWER_MISMATCH', detail: 'what it says of itself is not version 1 of the wallet protocol' }
  }
  const batchMax = mostOf(said['batch'])
  const settlementsMax = mostOf(said['settlements'])
  // Each level includes those before it, so one that is left out ends the list; so does one without its limit.
  const has = (level: WalletLevel): boolean =>
    levels.includes(level) &&
    (level !== 'batch' || batchMax !== null) &&
    (level !== 'settlements' || settlementsMax !== null)
  const lacking = LEVELS.findIndex(level => level !== 'basic' && !has(level))
  const level = LEVELS[lacking === -1 ? LEVELS.length - 1 : lacking - 1] ?? 'basic'
  return {
    capabilities: {
      level,
      holds: level !== 'basic' && said['holds'] === true,
      batchMax: batchMax ?? 1,
      settlementsMax: settlementsMax ?? 1,
    },
    scales: scalesOf(said['currencies']),
  }
}

function mostOf(limits: unknown): number | null {
  const max = objectOf(limits)?.['max']
  return typeof max === 'number' && Number.isInteger(max) && max >= 1 ? Math.min(max, MOST_IN_CALL) : null
}

function scalesOf(currencies: unknown): ReadonlyMap<string, number> {
  const scales = new Map<string, number>()
  if (!Array.isArray(currencies)) return scales
  for (const each of currencies as readonly unknown[]) {
    const { code, scale } = objectOf(each) ?? {}
    if (typeof code === 'string' && typeof scale === 'number') scales.set(code, scale)
  }
  return scales
}
