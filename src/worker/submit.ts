import { parseUuid } from '../core/ids.ts'
import type { Instruments } from '../core/instruments.ts'
import { acceptTrade, type TradeFault, type TradeInput } from '../core/trade.ts'
import type { NewTrade } from '../store/store.ts'
import type { TradeIntake } from './intake.ts'

/** What is wrong with a trade that was handed in. */
export interface SubmitFault {
  readonly id: string
  /** Of `TradeInput`. */
  readonly field: string
  readonly code: TradeFault['code'] | 'INVALID_REQUEST' | 'TRADE_ID_REUSED'
  readonly detail: string
}

/** Trades that can't be settled as they are: an error of whoever matched them, and never passed over. */
export class TradesRefusedError extends Error {
  override readonly name = 'TradesRefusedError'
  readonly faults: readonly SubmitFault[]

  constructor(faults: readonly SubmitFault[]) {
    const [first] = faults
    super(
      `trade ${first?.id}, ${first?.field}: ${first?.detail}${faults.length > 1 ? `, and ${faults.length - 1} more` : ''}`,
    )
    this.faults = faults
  }
}

export interface Submitted {
  readonly accepted: number
  /** Known before, with the same content: they were left as they are. */
  readonly duplicates: number
}

/**
 * Hands in trades of any matching engine, and resolves once all of them are durable; their settlement goes on by itself.
 * The same again is harmless, so whoever did not see it resolve repeats it. Throws `TradesRefusedError` where a trade is not
 * acceptable, and then took none; where an id was used before for another trade, it may have taken those before it.
 */
export type Submit = (trades: readonly TradeInput[]) => Promise<Submitted>

/** Trades a transaction: enough to share its cost, and few enough to find room among those in work. */
const BATCH = 250

export function createSubmit(options: {
  readonly intake: TradeIntake
  readonly instruments: Instruments
  readonly feeUserId: string
}): Submit {
  return async inputs => {
    const trades = readAll(inputs, options)
    const submitted = { accepted: 0, duplicates: 0 }
    for (let from = 0; from < trades.length; from += BATCH) {
      const taken = await options.intake.take(trades.slice(from, from + BATCH))
      if (taken.reusedIds.length > 0) throw new TradesRefusedError(taken.reusedIds.map(reused))
      submitted.accepted += taken.acceptedIds.length
      submitted.duplicates += taken.duplicates.length
    }
    return submitted
  }
}

function reused(id: string): SubmitFault {
  return { id, field: 'id', code: 'TRADE_ID_REUSED', detail: 'the id was used before for another trade' }
}

function readAll(
  inputs: readonly TradeInput[],
  { instruments, feeUserId }: { readonly instruments: Instruments; readonly feeUserId: string },
): readonly NewTrade[] {
  const trades: NewTrade[] = []
  const faults: SubmitFault[] = []
  for (const input of inputs) {
    const { id } = input
    const found = shapeFaults(input)
    const accepted = acceptTrade(withLowerIds(input), instruments.markets.get(input.symbol), feeUserId)
    faults.push(...found.map(field => ({ id, field, code: 'INVALID_REQUEST' as const, detail: SHAPES[field] })))
    if ('faults' in accepted)
      faults.push(...accepted.faults.map(fault => ({ ...fault, id, field: FIELDS[fault.field] })))
    else trades.push({ trade: accepted.trade, isTimeGiven: true })
  }
  if (faults.length > 0) throw new TradesRefusedError(faults)
  return trades
}

const FIELDS: Readonly<Record<TradeFault['field'], keyof TradeInput>> = {
  symbol: 'symbol',
  price: 'price',
  quantity: 'quantity',
  buyer_fee: 'buyerFee',
  seller_fee: 'sellerFee',
}

const SHAPES = {
  id: 'not a UUID',
  buyerUserId: 'not a UUID',
  sellerUserId: 'not a UUID',
  buyerOrderId: 'not a UUID, and not null',
  sellerOrderId: 'not a UUID, and not null',
  executedAtMs: 'not a whole number of milliseconds since the epoch',
} as const

/** The fields that the database could not hold. */
function shapeFaults(input: TradeInput): readonly (keyof typeof SHAPES)[] {
  const { executedAtMs } = input
  const isTime = Number.isInteger(executedAtMs) && executedAtMs >= 0 && executedAtMs <= LATEST_MS
  const ids = (['id', 'buyerUserId', 'sellerUserId'] as const).filter(field => parseUuid(input[field]) === null)
  const orderIds = (['buyerOrderId', 'sellerOrderId'] as const).filter(field => {
    const orderId = input[field]
    return orderId !== null && parseUuid(orderId) === null
  })
  return [...ids, ...orderIds, ...(isTime ? [] : (['executedAtMs'] as const))]
}

/** The last day of the year 9999, as the API's times. */
const LATEST_MS = 253_402_214_400_000

/** Ids are compared as they are stored. */
function withLowerIds(input: TradeInput): TradeInput {
  return {
    ...input,
    id: input.id.toLowerCase(),
    buyerUserId: input.buyerUserId.toLowerCase(),
    sellerUserId: input.sellerUserId.toLowerCase(),
    buyerOrderId: input.buyerOrderId?.toLowerCase() ?? null,
    sellerOrderId: input.sellerOrderId?.toLowerCase() ?? null,
  }
}
