/**
 * Every code that Legwork uses for something that went wrong: in answers of the HTTP API, and as the reason of a failed
 * attempt or a dead letter. docs/errors.md is made from it. What is done about a code never depends on its words: an outcome
 * says whether a call was applied, refused, deferred or unanswered (core/settlement.ts).
 */
export interface ErrorEntry {
  /** What it means, as the title of a problem. */
  readonly title: string
  /** What whoever meets it does about it. */
  readonly action: string
}

const REQUESTS = {
  INVALID_REQUEST: {
    title: 'The request is malformed',
    action: 'Mend the fields that `errors` points to, then send it again.',
  },
  INVALID_AMOUNT: {
    title: 'An amount is not acceptable',
    action: 'Send a decimal text above zero, of at most 38 digits and no more places than the asset has.',
  },
  IDEMPOTENCY_KEY_MISSING: {
    title: 'The call names no key',
    action: 'Give each changing call a key of its own, in `Idempotency-Key` or `key`.',
  },
  UNAUTHORIZED: { title: 'No valid key was given', action: 'Send `Authorization: Bearer KEY`.' },
  FORBIDDEN: { title: 'The key may not do this', action: 'Use a key with the role the detail names.' },
  NOT_FOUND: { title: 'There is no such thing', action: 'Check the id, and that the key may see it.' },
  TRADE_ID_REUSED: {
    title: 'A trade id was used before for another trade',
    action: 'Nothing of the call was taken. Find out which of the two trades is true; each trade has an id of its own.',
  },
  NOT_RETRYABLE: {
    title: 'There is nothing to retry',
    action: 'Look at the trade: it is settled, pending, being retried, or its letter is resolved.',
  },
  NOT_RESOLVABLE: {
    title: 'There is nothing to resolve',
    action: 'Look at the letter: it is resolved already, or being retried.',
  },
  TOO_LARGE: { title: 'The request is too large', action: 'Send fewer items in a call.' },
  UNKNOWN_SYMBOL: { title: 'The market is not known', action: 'Configure the market, or mend the symbol.' },
  INVALID_PRICE: { title: 'A price is not acceptable', action: 'Send a price above zero, of at most 38 digits.' },
  INVALID_QUANTITY: {
    title: 'A quantity is not acceptable',
    action: 'Send a quantity above zero, of at most 38 digits.',
  },
  INVALID_FEE: { title: 'A fee is not acceptable', action: 'Send a decimal text; below zero for a rebate.' },
  TOO_MANY_PLACES: {
    title: 'A number has more places than its asset',
    action: 'Send fewer places, raise the scale of the asset, or give the market a rounding rule.',
  },
  FEE_EXCEEDS_NOTIONAL: {
    title: 'A fee is above the notional',
    action: "Mend the seller's fee: it is taken from what the seller gets.",
  },
  REBATE_EXCEEDS_NOTIONAL: { title: 'A rebate is above the notional', action: 'Mend the fee.' },
  RATE_LIMITED: {
    title: 'Too many requests',
    action: 'Wait as long as `Retry-After` says. Legwork does so by itself.',
  },
  UNAVAILABLE: {
    title: 'The server can take no work just now',
    action: 'Repeat the call as it is after `Retry-After`; what was taken is not taken twice.',
  },
} as const satisfies Record<string, ErrorEntry>

const ORDERS = {
  PRICE_TICK: {
    title: 'A price is between two steps of the market',
    action: 'Send a multiple of the `tick_size` that `GET /v1/markets` names.',
  },
  LOT_SIZE: {
    title: 'A quantity is between two steps of the market',
    action: 'Send a multiple of the `lot_size` that `GET /v1/markets` names.',
  },
  MIN_NOTIONAL: {
    title: 'The order is too small for the market',
    action: 'Send one of at least the `min_notional` that `GET /v1/markets` names.',
  },
  POST_ONLY_WOULD_CROSS: {
    title: 'A post-only order would trade at once',
    action: 'Send a price that does not reach the other side of the book.',
  },
  MARKET_HALTED: {
    title: 'The market takes no orders just now',
    action: 'Wait until `GET /v1/markets` says `trading`; cancelling and reducing go on.',
  },
  CLIENT_ORDER_ID_REUSED: {
    title: 'A client order id was used before for another order',
    action: 'Nothing was taken. Look the first one up by its client order id; each order has one of its own, for ever.',
  },
  ORDER_NOT_OPEN: {
    title: 'The order is over',
    action: 'Look it up: it is filled, cancelled or expired, and stays so.',
  },
} as const satisfies Record<string, ErrorEntry>

const WALLET = {
  INSUFFICIENT_BALANCE: {
    title: 'Not enough is available on the account',
    action:
      'Of an order: it was not taken; what was `available` and what is `required` stands beside the code. Of a settlement: see that the account holds it, then retry the dead letter. Of an undo: the credit was spent; recover it, and the rollback completes by itself.',
  },
  UNKNOWN_CURRENCY: {
    title: 'The currency is not known',
    action: 'Configure the asset at the wallet, then retry the dead letter.',
  },
  HOLD_NOT_FOUND: {
    title: 'The hold is not there',
    action: 'Look its key up at the wallet: it was never placed, was refused or taken back, or is on another account.',
  },
  HOLD_EXCEEDED: {
    title: 'More than the hold has left',
    action: 'Release less: the problem says how much is left. Without an amount all that remains is released.',
  },
  IDEMPOTENCY_KEY_REUSED: {
    title: 'The key was used before for something else',
    action:
      'Of a settlement: its key has moved other money. Nothing more happens by itself, nor by a retry; compare the entries of the key with the trade, and resolve the letter by hand.',
  },
  IN_PROGRESS: {
    title: 'The first call with this key is still under way',
    action: 'Repeat the call a little later. Legwork does so by itself.',
  },
  REVERSED: {
    title: 'The key has been reversed',
    action: 'Nothing under it is applied any more; a new attempt takes a new key, as a retry of a dead letter does.',
  },
  INTERNAL: {
    title: 'The server failed',
    action:
      'Its log says why. Of a settlement: a rule of Legwork was broken, nothing more happens by itself; report it.',
  },
} as const satisfies Record<string, ErrorEntry>

const CALLS = {
  TIMEOUT: {
    title: 'No answer within `settlement.timeout_ms`',
    action: 'Perhaps done: it is repeated under its key. If it goes on, look at the wallet.',
  },
  SILENT: {
    title: 'The connection went silent',
    action: 'As TIMEOUT, of all that was under way on it.',
  },
  LOST_BEHIND: {
    title: 'A call before it on its connection got no answer',
    action: 'Perhaps done: it is repeated under its key, and this counts as no attempt.',
  },
  CONNECTION_LOST: { title: 'The connection was lost', action: 'Perhaps done: it is repeated under its key.' },
  CONNECTION_ERROR: { title: 'The connection failed', action: 'Perhaps done: it is repeated under its key.' },
  CONNECT_TIMEOUT: {
    title: 'Nobody took the connection',
    action: 'Not sent. Look whether the wallet runs and can be reached.',
  },
  NOT_SENT: { title: 'The call was not sent', action: 'Look whether the wallet runs and can be reached.' },
  UNREACHABLE: {
    title: 'The wallet can not be reached',
    action: 'Not sent. Look whether the wallet runs and can be reached.',
  },
  CIRCUIT_OPEN: {
    title: 'The wallet is away, and is not called',
    action: 'It is asked twice a second; work goes on when it answers. No trade fails meanwhile.',
  },
  LOCKED_OUT: {
    title: 'The wallet does not take our token',
    action: 'Give the right `wallet.token`. It is asked every five seconds; no trade fails meanwhile.',
  },
  ANSWER_MISMATCH: {
    title: 'The answer is about something else',
    action: 'Not believed: it is repeated under its key. If it goes on, the wallet mixes up its answers.',
  },
  ANSWER_MALFORMED: { title: 'The answer can not be read', action: 'Not believed: it is repeated under its key.' },
  ANSWER_TOO_LARGE: { title: 'The answer is too large', action: 'Not believed: it is repeated under its key.' },
  ANSWER_CUT: { title: 'The answer was cut', action: 'Not believed: it is repeated under its key.' },
  CALL_NOT_TAKEN: {
    title: 'The wallet does not take the call in this form',
    action: 'Perhaps its capabilities say more than it can do; a lower rail can be forced with `settlement.rail`.',
  },
  CLIENT_FAILED: {
    title: 'The call to the wallet failed inside Legwork',
    action: 'The log says why; on the built-in wallet it is mostly the database that was away.',
  },
  UNANSWERED: {
    title: 'The call was recorded, and its answer never came',
    action:
      'The wallet does not recognise repeated keys, so nobody may ask again: look there, then resolve the dead letter.',
  },
} as const satisfies Record<string, ErrorEntry>

/** The catalogue, in the groups it is shown in. */
export const ERRORS = { ...REQUESTS, ...ORDERS, ...WALLET, ...CALLS } as const
export const ERROR_GROUPS = [
  ['Requests that are not taken', REQUESTS],
  ['Orders that are not taken', ORDERS],
  ['What a wallet says', WALLET],
  ['Calls to a wallet', CALLS],
] as const satisfies readonly (readonly [string, Readonly<Record<string, ErrorEntry>>])[]

export type ErrorCode = keyof typeof ERRORS
