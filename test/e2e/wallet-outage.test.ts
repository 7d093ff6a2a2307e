/** A wallet that is away, and one that does not let us in: nothing fails for it, and work goes on by itself. */
import { describe, expect, test } from 'vitest'
import { outage } from '../soak/outage.ts'
import { type UpServer, until } from '../support/process.ts'
import { audit } from '../support/wallet-audit.ts'
import {
  atRest,
  fund,
  handIn,
  openMemoryWallet,
  openServe,
  statusOf,
  tradeSeen,
  tradesApart,
  usersOf,
} from '../support/wallet-rig.ts'
import { workshopOfFile } from '../support/workshop-of-file.ts'

const shop = await workshopOfFile()

describe.concurrent('down for a while under load', () => {
  test.each([
    { how: 'port', level: 'reversals' },
    { how: 'port', level: 'settlements' },
    { how: 'killed', level: 'batch' },
    { how: 'database', level: 'settlements' },
  ] as const)('F-6 $how at level $level: no dead letter, all settled, and it goes on at once', async each => {
    const result = await outage(shop, { ...each, downMs: 6000, perSecond: 60 })
    process.stdout.write(`${JSON.stringify(result)}\n`)
    expect(result.dead_letters).toBe(0)
    // Two seconds, which the soak asserts; here all other tests are at work on the same cores.
    expect(result.resumed_ms).toBeLessThan(3000)
    expect(result.most_workers_busy).toBeLessThanOrEqual(2)
    expect(result.slowest_intake_ms).toBeLessThan(2000)
  })
})

const TRADES = 50
const LOCKED_OUT = /"level":"ERROR".*the wallet does not accept our token/g

describe.concurrent('a wallet that does not let us in', () => {
  test('no trade fails, it is said once, and work goes on within six seconds', async () => {
    const first = await openMemoryWallet(shop, 'reversals')
    const server = await openServe(shop, first, ['--data-dir', shop.path('locked-out')])
    const port = ['--port', new URL(first.url).port]
    const end = async (wallet: UpServer): Promise<void> => {
      wallet.signal('SIGTERM')
      await wallet.ended
    }
    await end(first)
    const strict = await openMemoryWallet(shop, 'reversals', port, { LEGWORK_ADMIN_TOKEN: 'another-key-than-before' })
    const trades = tradesApart(1, TRADES)
    await handIn(server, trades)
    await until('it is said', async () => LOCKED_OUT.test(server.output().stderr))
    const saidAtMs = Date.now()
    // Longer than until it is asked again.
    await until('the wallet was asked again', async () => Date.now() - saidAtMs > 6000)
    expect(server.output().stderr.match(LOCKED_OUT)).toHaveLength(1)
    const { failed, pending, in_flight, wallet } = await statusOf(server)
    expect({ failed, pending }).toEqual({ failed: 0, pending: TRADES })
    expect(in_flight).toBe(0)
    expect(wallet.circuit).not.toBe('closed')
    await end(strict)

    // It begins with nothing in it, and must not be settled on before its users are funded.
    const { status } = await server.post('/v1/admin/settlement/pause', { reason: 'the wallet is exchanged' })
    expect(status).toBe(200)
    const right = await openMemoryWallet(shop, 'reversals', port)
    await fund(right, usersOf(trades))
    await server.post('/v1/admin/settlement/resume', {})
    const rightAtMs = Date.now()
    await atRest(server, TRADES)
    const waitedMs = Date.now() - rightAtMs
    process.stdout.write(`${JSON.stringify({ locked_out: { trades: TRADES, goes_on_ms: waitedMs } })}\n`)
    // Asked every five seconds.
    expect(waitedMs).toBeLessThan(6500)
    const { settled } = await audit(server, right, trades)
    expect(settled).toBe(TRADES)
    // What was not taken was no attempt.
    expect((await tradeSeen(server, trades[0]?.id ?? '')).settlement_retry_count).toBe(0)
    expect(server.output().stderr.match(LOCKED_OUT)).toHaveLength(1)
  })
})
