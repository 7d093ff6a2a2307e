/**
 * Funds that are reserved on our side, for a wallet without holds: an order is accepted where the user's balance there,
 * less all that is promised here, covers it. What is promised is what open orders need and what their trades will yet take.
 *
 * It errs to the safe side. What trades will take is read from the database before the balance is read from the wallet, so
 * a trade that is settled in between is counted twice rather than not at all; what was matched since then is added from
 * memory. Money that is taken out of the wallet by others is not ours to see: a trade may then fail for want of funds.
 */
import type { Trade } from '../core/trade.ts'
import type { Logger } from '../log.ts'
import type { OrderStore } from '../store/order-store.ts'
import type { Balance, Wallet } from '../wallet/wallet.ts'
import { type Claim, claimAll, type Funds, type FundsRefusal, type Need } from './funds.ts'
import { debitsOf } from './needs.ts'

export interface ReservedFundsOptions {
  readonly wallet: Pick<Wallet, 'balance'>
  readonly store: Pick<OrderStore, 'unsettledDebits'>
  readonly log: Logger
  /** Ids of orders. */
  readonly newId: () => string
  /** What the open orders need, as they stand. */
  readonly open: readonly Need[]
}

/** What a trade takes of an account, in which batch it was matched. */
interface Debit {
  readonly tradeId: string
  readonly account: string
  readonly amount: bigint
  readonly batch: number
}

export function createReservedFunds({ wallet, store, log, newId, open }: ReservedFundsOptions): Funds {
  /** What open orders need, by account. */
  const promised = new Map<string, bigint>()
  for (const { userId, currency, amount } of open) change(accountOf(userId, currency), amount)
  /** Of batches that a claim under way may not have seen in the database. */
  let debits: Debit[] = []
  let batch = 1
  let storedBatch = 0
  /** Of each claim under way, the oldest first: the last batch that was stored when it began. */
  const seen = new Set<{ readonly storedBatch: number }>()

  function change(account: string, amount: bigint): void {
    const sum = (promised.get(account) ?? 0n) + amount
    if (sum === 0n) promised.delete(account)
    else promised.set(account, sum)
  }

  async function look(need: Need, own: { readonly storedBatch: number }): Promise<Claim> {
    const account = accountOf(need.userId, need.currency)
    const unsettled = await store.unsettledDebits([need.userId])
    const counted = new Set(unsettled.map(({ trade }) => trade.id))
    let unsettledSum = 0n
    for (const { userId, trade } of unsettled) unsettledSum += debitOf(trade, userId, need.currency)
    const balance = await wallet.balance(need.userId, need.currency).catch((error: unknown): Error => {
      log.warn({ err: error, user_id: need.userId }, 'the balance can not be read')
      return error instanceof Error ? error : new Error(String(error))
    })
    const claim = { amount: 0n }

    function refusal(wanted: bigint): FundsRefusal | null {
      if (balance instanceof Error) return { code: 'UNAVAILABLE', detail: 'the balance can not be read' }
      let free = availableOf(balance) - unsettledSum - (promised.get(account) ?? 0n) + claim.amount
      for (const { tradeId, batch: of, ...debit } of debits) {
        if (debit.account === account && of > own.storedBatch && !counted.has(tradeId)) free -= debit.amount
      }
      if (free >= wanted) return null
      const available = free < 0n ? 0n : free
      return { code: 'INSUFFICIENT_BALANCE', currency: need.currency, available, required: wanted }
    }

    return {
      id: newId(),
      hold: null,
      get amount() {
        return claim.amount
      },
      isShort: false,
      confirm(wanted) {
        const why = wanted === 0n ? null : refusal(wanted)
        if (why !== null) return why
        change(account, wanted - claim.amount)
        claim.amount = wanted
        return null
      },
      keep: () => end(own),
      giveUp() {
        change(account, -claim.amount)
        end(own)
      },
    }
  }

  async function begin(need: Need): Promise<Claim> {
    const own = { storedBatch }
    seen.add(own)
    try {
      return await look(need, own)
    } catch (error) {
      end(own)
      throw error
    }
  }

  function end(own: { readonly storedBatch: number }): void {
    seen.delete(own)
    const [first = { storedBatch }] = seen
    // In the order of their batches.
    if ((debits[0]?.batch ?? batch) <= first.storedBatch) debits = debits.filter(each => each.batch > first.storedBatch)
  }

  return {
    claim: needs => claimAll(needs, begin),
    take(changes) {
      for (const { trades, freed } of changes) {
        for (const trade of trades) {
          const { buyer, seller } = debitsOf(trade)
          spend(trade.id, accountOf(trade.buyerUserId, trade.quote), buyer)
          spend(trade.id, accountOf(trade.sellerUserId, trade.base), seller)
        }
        for (const { order, currency, amount } of freed) change(accountOf(order.userId, currency), -amount)
      }
      batch++
      return { releases: [] }
    },
    stored() {
      storedBatch = batch - 1
    },
    close: async () => {},
  }

  /** From an open order's need to a trade's. */
  function spend(tradeId: string, account: string, amount: bigint): void {
    if (amount === 0n) return
    change(account, -amount)
    debits.push({ tradeId, account, amount, batch })
  }
}

function accountOf(userId: string, currency: string): string {
  return `${userId} ${currency}`
}

function availableOf(balance: Balance | null): bigint {
  return balance?.available ?? 0n
}

function debitOf(trade: Trade, userId: string, currency: string): bigint {
  const { buyer, seller } = debitsOf(trade)
  let sum = 0n
  if (trade.buyerUserId === userId && trade.quote === currency) sum += buyer
  if (trade.sellerUserId === userId && trade.base === currency) sum += seller
  return sum
}
