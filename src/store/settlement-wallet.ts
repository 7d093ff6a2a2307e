/** Which wallet the trades of a database are settled on: all processes on it must be told the same. */
import { type Database, transaction } from '../db.ts'

export class OtherWalletError extends Error {}

/**
 * Notes where this process settles. Throws `OtherWalletError` where trades in work, or open orders, are on the other wallet:
 * what was done for them there nobody would find here.
 */
export async function settleOn(database: Database, isElsewhere: boolean): Promise<void> {
  await transaction(database, async connection => {
    await connection.query('insert into settlement_wallet (is_elsewhere) values ($1) on conflict do nothing', [
      isElsewhere,
    ])
    const { rows } = await connection.query<{ readonly is_elsewhere: boolean; readonly is_busy: boolean }>(`
      select is_elsewhere,
        exists (select from open_settlements) or exists (select from orders where is_open) as is_busy
      from settlement_wallet
      for update`)
    const [known] = rows
    if (known === undefined || known.is_elsewhere === isElsewhere) return
    if (known.is_busy) throw new OtherWalletError(wordsOf(known.is_elsewhere))
    await connection.query('update settlement_wallet set is_elsewhere = $1', [isElsewhere])
  })
}

function wordsOf(wasElsewhere: boolean): string {
  return wasElsewhere
    ? 'trades or orders of this database are in work on a wallet service: name it (--wallet-url, or wallet.url), ' +
        'or let them come to their end there first'
    : 'trades or orders of this database are in work on the built-in wallet: leave wallet.url out, ' +
        'or let them come to their end there first'
}
