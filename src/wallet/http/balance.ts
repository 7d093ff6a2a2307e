import type { Balance } from '../wallet.ts'
import { WalletUnavailableError } from './calls.ts'
import { parseObject } from './json.ts'
import { readTotal } from './total.ts'
import type { Sent } from './transport.ts'

/**
 * The answer to `GET /v1/balances/{user_id}/{currency}`; null: the wallet does not know the currency. Throws
 * `WalletUnavailableError` for anything that does not tell.
 *
 * @param scale the places of the currency.
 */
export function readBalance(sent: Sent, userId: string, currency: string, scale: number): Balance | null {
  if (sent.kind !== 'answer') throw new WalletUnavailableError(sent.code, `the wallet did not tell a balance`)
  const said = parseObject(sent.body)
  if (sent.status >= 400 && said?.['code'] === 'UNKNOWN_CURRENCY') return null
  const units = (name: string): bigint | null => readTotal(said?.[name], scale)
  const [available, held, total] = [units('available'), units('held'), units('total')]
  const isAsked = String(said?.['user_id']).toLowerCase() === userId.toLowerCase() && said?.['currency'] === currency
  if (sent.status !== 200 || !isAsked || available === null || held === null || total === null) {
    throw new WalletUnavailableError(
      `HTTP_${sent.status}`,
      'what the wallet answered is not the balance that was asked for',
    )
  }
  return { userId, currency, available, held, total }
}
