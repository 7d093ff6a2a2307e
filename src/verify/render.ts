import type { Break, BreakKind } from './breaks.ts'
import type { CurrencyTotals } from './currencies.ts'
import type { VerifyReport } from './verify.ts'

/** The report as text for a terminal: counts, totals as a table, and each kind of break with what to do about it. */
export function renderReport(report: VerifyReport): string {
  const { trades, settled, failed, pending, conserved, totals } = report
  const parts = [
    `${trades} trades: ${settled} settled, ${failed} failed, ${pending} pending`,
    ...(totals.length === 0 ? [] : [renderTotals(totals)]),
    conservation(conserved),
    renderBreaks(report),
  ]
  return `${parts.join('\n\n')}\n`
}

function conservation(conserved: boolean | null): string {
  if (conserved === null) return 'The wallet is elsewhere: what it has done is not checked.'
  return conserved ? 'Money is conserved.' : 'MONEY IS NOT CONSERVED.'
}

const COLUMNS = ['currency', 'deposits', 'withdrawals', 'balances', 'fees', 'clearing'] as const

function renderTotals(totals: readonly CurrencyTotals[]): string {
  const lines: readonly (readonly string[])[] = [COLUMNS, ...totals.map(row => COLUMNS.map(column => row[column]))]
  const widths = COLUMNS.map((_, at) => Math.max(...lines.map(line => line[at]?.length ?? 0)))
  return lines
    .map(line =>
      line
        .map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function renderBreaks({ breaks, examples, conserved }: VerifyReport): string {
  if (breaks === 0) return conserved === null ? 'No breaks.' : 'No breaks: every leg that should exist does, once.'
  const kinds = Map.groupBy(examples, each => each.kind)
  const shown = examples.length < breaks ? `, the first ${examples.length} of which are` : ''
  const blocks = [...kinds].map(([kind, found]) => `${kind}: ${ADVICE[kind]}\n${found.map(renderBreak).join('\n')}`)
  return [`${breaks} ${breaks === 1 ? 'break' : 'breaks'}${shown}:`, ...blocks].join('\n\n')
}

function renderBreak({ tradeId, account, currency, key, detail }: Break): string {
  const about = [
    tradeId === undefined ? null : `trade ${tradeId}`,
    account === undefined ? null : `account ${account}${currency === undefined ? '' : ` ${currency}`}`,
    account === undefined && currency !== undefined ? currency : null,
    key === undefined ? null : `key ${key}`,
  ]
  return `  ${about.filter(each => each !== null).join(', ')}\n    ${detail}`
}

const WRITTEN = 'Something other than Legwork has written to the tables.'
const STOP = 'Pause settlement until it is clear why.'

/** What a break of the kind means for whoever has to act on it. */
const ADVICE: Readonly<Record<BreakKind, string>> = {
  conservation: `Money was made or lost. ${STOP} The breaks of accounts and legs show where.`,
  clearing: 'More or less is half done than the settlements say. The breaks of legs name the trades.',
  totals: 'The sums kept beside the entries are off. The entries decide; the table above is made from them.',
  'account-balance': `The entries decide what the user has. ${WRITTEN}`,
  'account-count': `An entry is gone, or is one too many. ${WRITTEN}`,
  'account-overdrawn': `An account that is not for fees went below zero, or below what is held. ${STOP}`,
  'account-held': `The open holds decide what stands aside. ${WRITTEN}`,
  'entry-gap': `An entry is gone. ${WRITTEN}`,
  'entry-balance': `An entry was changed after it was written. ${WRITTEN}`,
  'operation-entries': 'What a key has done and what its entries say differ. Repeat no call under the key.',
  'entry-without-operation':
    'Money moved under a key that the wallet does not know: a call under it would move it again.',
  'settlement-unbalanced': `A settlement took more than it gave, or gave more than it took. ${STOP}`,
  'hold-operation': `A hold and the call that placed it differ. ${WRITTEN}`,
  'market-unknown': 'Put the market back into the configuration; without it nothing of the trade can be read.',
  notional:
    'If the market was given another rounding rule since, or its asset more places, that is why. Else the trade was altered.',
  'leg-missing':
    'If the trade was settled on a wallet elsewhere, name that with --wallet-url. Else who should have had the money has not ' +
    'got it. A settled trade stays so: correct it by a new settlement.',
  'leg-repeated': `A leg moved money more than once. ${STOP}`,
  'leg-amount':
    'A leg moved another amount than the trade says. A settled trade stays so: correct it by a new settlement.',
  'leg-undone': 'A leg that should stand was taken back. A settled trade stays so: correct it by a new settlement.',
  'leg-unexpected': 'Money moved in the name of a trade and should not have, or on the wrong account. Reverse its key.',
  'trade-unknown': 'A trade was removed, or somebody else uses the ledger with trades of their own.',
  'order-trade': `A trade and the order that it names contradict each other. ${WRITTEN}`,
  'order-fills':
    'The trades decide what an order has done. If an asset was given more places since, a fee may have been rounded to fewer.',
  'order-status': `What an order says of itself contradicts what it has done. ${WRITTEN}`,
  'order-hold':
    'If fees, lot size or rounding of the market were changed while the order was open, that is why. Else its trades may fail ' +
    'for want of funds, or funds stand aside for nothing: cancel it, and release what remains of its hold.',
  'book-crossed': 'Orders rest that should have traded with each other. Halt the market and cancel one of them.',
  'status-phase': 'The status of the trade and its settlement contradict each other. Do not retry it.',
  'settled-at':
    'The time of settlement and the status contradict each other. No money is concerned, but latency figures are.',
  'letter-missing': 'What failed is not among the dead letters, where a person would find it.',
  'letter-stale':
    'A dead letter stands for a trade that has gone on, or that nobody is at. Look at the trade, not the letter.',
  'work-after-end': 'A trade at its end is still in the queue. A worker that takes it moves nothing and ends it again.',
  'work-lost': 'Nobody will take this trade in hand by itself.',
}
