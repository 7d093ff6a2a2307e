/**
 * A wallet that can't recognise a repeated key (`idempotent: false`), and a SIGKILL of Legwork between each call and its
 * answer: no call is ever made again, and what is known of each leg is told.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type UpServer, until } from '../support/process.ts'
import {
  FAST,
  fund,
  handIn,
  LEGS,
  type LegName,
  type LoggedFault,
  openLetters,
  openMemoryWallet,
  openServe,
  type RigTrade,
  type RigWallet,
  type Rule,
  read,
  settings,
  statusOf,
  type TradeSeen,
  tradeSeen,
  tradesApart,
  usersOf,
} from '../support/wallet-rig.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

interface Point {
  readonly call: 'apply' | 'reverse'
  readonly leg: LegName
  readonly when: 'before' | 'after'
}

const at = (call: Point['call'], legs: readonly LegName[]): readonly Point[] =>
  legs.flatMap(leg => (['before', 'after'] as const).map(when => ({ call, leg, when })))
/** The last leg before the fee has no undo here: nothing turns a settlement after it but silence, which stops it. */
const POINTS = [...at('apply', LEGS), ...at('reverse', LEGS.slice(0, 3))]
const SETTINGS = {
  ...FAST,
  ...settings({ timeout_ms: 120_000, lease_ms: 150_000 }),
  LEGWORK_WALLET_IDEMPOTENT: 'false',
}

function rulesOf({ call, leg, when }: Point, { id }: RigTrade): readonly Rule[] {
  const hang = { trade_id: id, call, leg, fault: 'no_answer', when }
  const refusal = { trade_id: id, call: 'apply', leg: 'seller-credit', fault: 'refuse', code: 'UNKNOWN_CURRENCY' }
  return call === 'reverse' ? [hang, refusal] : [hang]
}

/** Does nothing but leave a line in the log of whatever call no other rule is for. */
const NOTE: Rule = { fault: 'slow', ms: 0 }

/** How the legs stand, in their order. */
function statesAt({ call, leg }: Point): readonly TradeSeen['legs'][number]['state'][] {
  const index = LEGS.indexOf(leg)
  return LEGS.map((name, place) => {
    if (call === 'apply') return place < index ? 'applied' : place === index ? 'unanswered' : 'waiting'
    if (name === 'seller-credit') return 'refused'
    if (name === 'fee') return 'waiting'
    // An undo that may or may not have been made leaves open what its leg is.
    return place > index ? 'reversed' : place === index ? 'unanswered' : 'applied'
  })
}

async function movementsOf(wallet: RigWallet, { id }: RigTrade): Promise<readonly string[]> {
  const path = `/v1/entries?trade_id=${id}`
  const { entries } = await read<{ readonly entries: readonly { readonly key: string }[] }>(wallet, path)
  return entries.map(({ key }) => key.replace(`${id}:0:`, ''))
}

/** What the wallet did, in order. */
function movementsAt({ call, leg, when }: Point): readonly string[] {
  const index = LEGS.indexOf(leg)
  const upTo = when === 'after' ? index + 1 : index
  if (call === 'apply') return LEGS.slice(0, upTo)
  const undone = LEGS.slice(when === 'after' ? index : index + 1, 3).toReversed()
  return [...LEGS.slice(0, 3), ...undone.map(name => `${name}:undo`)]
}

async function settleUntilAllHang(server: UpServer, wallet: RigWallet, trades: readonly RigTrade[]): Promise<void> {
  await handIn(server, trades)
  await until('each of them hangs', async () => {
    const hanging = new Set(
      (await wallet.faultLog()).flatMap(each => (each.fault === 'no_answer' ? each.trade_id : [])),
    )
    return hanging.size === trades.length
  })
}

test('a kill between call and answer: never repeated, and the letter says what is known of each leg', async () => {
  const wallet = await openMemoryWallet(shop, 'reversals')
  const trades = tradesApart(1, POINTS.length)
  const cases = POINTS.map((point, index) => ({ point, trade: trades[index] as RigTrade }))
  await fund(wallet, usersOf(trades))
  await wallet.faults([...cases.flatMap(({ point, trade }) => rulesOf(point, trade)), NOTE])
  const killed = await openServe(shop, wallet, ['--data-dir', shop.path('data')], SETTINGS)
  await settleUntilAllHang(killed, wallet, trades)
  killed.signal('SIGKILL')
  await killed.ended

  const server = await openServe(shop, wallet, ['--data-dir', shop.path('data')], SETTINGS)
  await until('all are at rest', async () => (await statusOf(server)).pending === 0)
  // Long enough for whatever would be tried again by itself.
  await delay(1000)
  const log: readonly LoggedFault[] = await wallet.faultLog()
  expect(log.filter(({ attempt }) => attempt > 1)).toEqual([])
  const letters = new Map((await openLetters(server)).map(letter => [letter.trade_id, letter]))
  for (const { point, trade } of cases) {
    const said = JSON.stringify(point)
    const seen = await tradeSeen(server, trade.id)
    const isFee = point.leg === 'fee'
    const states = seen.legs.map(({ state }) => state)
    expect(states, said).toEqual(statesAt(point))
    expect(seen.settlement_status, said).toBe(isFee ? 'SETTLED' : 'SETTLEMENT_FAILED')
    const letter = letters.get(trade.id)
    expect(letter, said).toMatchObject({
      kind: isFee ? 'fee' : 'settlement',
      rollback: isFee ? 'not_needed' : 'incomplete',
    })
    expect(letter?.legs.map(({ state }) => state)).toEqual(states)
    expect(await movementsOf(wallet, trade), said).toEqual(movementsAt(point))
  }
  expect(letters.size).toBe(trades.length)
})
