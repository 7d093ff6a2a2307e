/** What a run has found, for people and for machines. */
import type { Claims } from './claims.ts'
import { isText, read } from './expect.ts'
import type { Finding, Report } from './kit.ts'
import { LEVELS, type Part } from './promise.ts'

/** Colours a sign, where there are colours. */
export type Paint = (colour: 'green' | 'red' | 'yellow' | 'bold', text: string) => string

/** Longer ones are cut: the beginning says enough. */
const MOST_TEXT = 400

export interface About {
  readonly url: string
  readonly run: string
}

/** Writes the findings as they come, each part under a heading of its own. */
export function createRenderer({ url, run }: About, paint: Paint) {
  let shown: Part | null = null
  return {
    head: (claims: Claims) => `${url} says it keeps ${claimed(claims)}\nrun ${run}\n`,
    finding: (finding: Finding): string => {
      const { part } = finding.promise
      const heading = part === shown ? '' : `\n${paint('bold', headingOf(part))}\n`
      shown = part
      return heading + linesOf(finding, paint)
    },
    end: (report: Report): string => `\n${countsOf(report)}${leftOf(report)}\n${verdictOf(report, paint)}\n`,
  }
}

function headingOf(part: Part): string {
  return part === 'holds' ? 'holds' : `level ${nameOf(LEVELS.indexOf(part))}`
}

function nameOf(level: number): string {
  return `${level} (${LEVELS[level]})`
}

function claimed({ level, holds }: Claims): string {
  return `level ${nameOf(level)}${holds ? ' and holds' : ''}`
}

function linesOf(finding: Finding, paint: Paint): string {
  const { name, section } = finding.promise
  switch (finding.result) {
    case 'kept':
      return `  ${paint('green', '✓')} ${name}\n`
    case 'untried':
      return `  ${paint('yellow', '–')} ${name}\n      not tried: ${finding.why}\n`
    case 'broken': {
      const facts: readonly (readonly [string, string])[] = [
        ['expected', finding.expected],
        ['came', finding.came === null ? (finding.why ?? '') : `${finding.came.status} ${finding.came.text}`],
        ['sent', finding.sent],
        ...(finding.after === null ? [] : [['after', finding.after] as const]),
        ['protocol', section],
      ]
      const lines = facts.map(([title, text]) => `      ${title.padEnd(8)}  ${shortOf(text)}\n`)
      return `  ${paint('red', '✗')} ${name}\n${lines.join('')}`
    }
  }
}

/** On one line, without what would steer a terminal. */
function shortOf(text: string): string {
  const line = text
    .trim()
    .replace(/\s+/g, ' ')
    .replace(/\p{Cc}/gu, '?')
  return line.length > MOST_TEXT ? `${line.slice(0, MOST_TEXT)} …` : line
}

function countsOf({ findings }: Report): string {
  const count = (result: Finding['result']): number => findings.filter(each => each.result === result).length
  const [kept, broken, untried] = [count('kept'), count('broken'), count('untried')]
  const more = untried === 0 ? '' : `, ${untried} not tried`
  return `${findings.length} promises: ${kept} kept, ${broken} broken${more}\n`
}

function leftOf({ left: { accounts, notEmpty } }: Report): string {
  if (notEmpty.length === 0) return `left behind: ${accounts} accounts, all empty, and their entries\n`
  const shown = notEmpty.slice(0, 10).map(({ user_id, currency, total }) => {
    return `  ${user_id}  ${total === null ? `unknown (${currency})` : `${shortOf(total)} ${currency}`}\n`
  })
  const more = notEmpty.length > shown.length ? `  and ${notEmpty.length - shown.length} more\n` : ''
  return `left behind: ${accounts} accounts and their entries; not empty are\n${shown.join('')}${more}`
}

function verdictOf({ claims, keeps, findings }: Report, paint: Paint): string {
  const said = keeps === null ? 'keeps no level' : `keeps level ${nameOf(keeps)}`
  const brokenHolds = findings.some(({ promise, result }) => promise.part === 'holds' && result !== 'kept')
  const doubts = [
    ...(keeps === claims.level ? [] : [`says it keeps level ${nameOf(claims.level)}`]),
    ...(brokenHolds ? ['does not keep its holds'] : []),
  ]
  return paint(doubts.length === 0 ? 'green' : 'red', [said, ...doubts].join(', '))
}

/** Whether a wallet keeps all that it says it does. */
export function isKept({ findings }: Report): boolean {
  return findings.every(({ result }) => result === 'kept')
}

/** The whole report on one line. */
export function jsonOf(report: Report, { url, run }: About): string {
  const { claims, keeps, findings, left } = report
  const level = (index: number) => ({ level: index, name: LEVELS[index] })
  return JSON.stringify({
    ...{ wallet_url: url, run },
    claims: { ...level(claims.level), holds: claims.holds },
    keeps: keeps === null ? null : level(keeps),
    kept: isKept(report),
    promises: findings.map(promiseJson),
    left: { accounts: left.accounts, not_empty: left.notEmpty },
  })
}

function promiseJson(finding: Finding): object {
  const { name, part, section } = finding.promise
  const level = part === 'holds' ? null : LEVELS.indexOf(part)
  const about = { name, part, level, section, result: finding.result }
  switch (finding.result) {
    case 'kept':
      return about
    case 'untried':
      return { ...about, why: finding.why }
    case 'broken': {
      const { expected, sent, after, came, why } = finding
      const code = came === null ? undefined : read(came, 'code')
      const answer =
        came === null ? null : { status: came.status, code: isText(code) ? code : null, body: shortOf(came.text) }
      return { ...about, expected, sent: shortOf(sent), after: after && shortOf(after), came: answer, why }
    }
  }
}
