/** From the desk's refusals to the API's problems. */
import type { Instruments } from '../../core/instruments.ts'
import { formatDecimal } from '../../core/money.ts'
import type { ChangeAnswer, OrderRefusal } from '../../orders/desk.ts'
import type { Problem } from '../contract.ts'
import { invalid } from '../faults.ts'
import { knownCode, problemOf } from '../problem.ts'

type Refusal = OrderRefusal | Extract<ChangeAnswer, { readonly refusal: unknown }>['refusal']

/** @param at where the order stands in the body, as a JSON pointer. */
export function problemOfRefusal(refusal: Refusal, { assets }: Instruments, at = ''): Problem {
  if ('field' in refusal) return invalid(`${at}/${refusal.field}`, refusal.detail, refusal.code)
  if (refusal.code === 'INSUFFICIENT_BALANCE') {
    const { currency } = refusal
    const scale = scaleOf(currency, assets)
    const [available, required] = [refusal.available, refusal.required].map(amount => formatDecimal(amount, scale))
    const detail = `${available} ${currency} is available, ${required} is required`
    return problemOf('INSUFFICIENT_BALANCE', detail, { available, required, currency })
  }
  // What the book alone could refuse (an id of ours that came twice) would be a bug.
  return problemOf(knownCode(refusal.code) ?? 'INTERNAL', refusal.detail)
}

function scaleOf(currency: string, assets: Instruments['assets']): number {
  const asset = assets.get(currency)
  if (asset === undefined) throw new Error(`asset ${currency} is neither configured nor stored`)
  return asset.scale
}
