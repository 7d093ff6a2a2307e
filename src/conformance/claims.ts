import { ASSET_CODE, type Asset } from '../core/market.ts'
import { MAX_SCALE } from '../core/money.ts'
import type { Answer } from './caller.ts'
import { read } from './expect.ts'
import { LEVELS } from './promise.ts'

/** What a wallet says it can do. */
export interface Claims {
  /** The highest level, an index of `LEVELS`. */
  readonly level: number
  readonly holds: boolean
  /** The most that one call may carry; null where that is not said. */
  readonly batchMax: number | null
  readonly settlementsMax: number | null
  /** At least one. */
  readonly assets: readonly [Asset, ...Asset[]]
  /** The answer to `GET /v1/capabilities`. */
  readonly answer: Answer
}

/**
 * Reads what can be read of the answer; whether it is as it should be is for a promise to say.
 *
 * @param assumed the assets of a wallet that names none, as one of level 0 does. Null: there are none at all.
 */
export function readClaims(answer: Answer, assumed: readonly Asset[]): Claims | null {
  const levels = read(answer, 'levels')
  const named = Array.isArray(levels) ? LEVELS.map(level => levels.includes(level)).lastIndexOf(true) : -1
  const currencies = read(answer, 'currencies')
  const said = Array.isArray(currencies) ? currencies.filter(isAsset) : []
  const [first, ...others] = said.length > 0 ? said : assumed
  if (first === undefined) return null
  return {
    level: Math.max(named, 0),
    holds: read(answer, 'holds') === true,
    batchMax: maxOf(read(answer, 'batch', 'max')),
    settlementsMax: maxOf(read(answer, 'settlements', 'max')),
    assets: [first, ...others],
    answer,
  }
}

export function isAsset(value: unknown): value is Asset {
  if (typeof value !== 'object' || value === null) return false
  const { code, scale } = value as Partial<Record<keyof Asset, unknown>>
  return typeof code === 'string' && ASSET_CODE.test(code) && isWhole(scale, 0) && scale <= MAX_SCALE
}

export function isWhole(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least
}

function maxOf(value: unknown): number | null {
  return isWhole(value, 1) ? value : null
}
