/** The wallet's hot calls (../hot/hot-routes.ts); those of the wallet service, whose lean server hands them in as it reads them. */
import type { App } from '../app.ts'
import { isAtLeast, maySee, type Principal } from '../auth.ts'
import { answered, created, jsonOf } from '../hot/answers.ts'
import { createHotRoutes, type HotOptions, type HotRoute, validatorsIn } from '../hot/hot-routes.ts'
import { type Answer, JSON_TYPE } from '../lean/answer.ts'
import type { Handle } from '../lean/connection.ts'
import {
  applyItem,
  applyOperation,
  type Calling,
  placeHold,
  releaseHold,
  reverseKey,
  settleItem,
  showBalance,
} from './calls.ts'
import {
  BalanceParams,
  BatchBody,
  HoldBody,
  KeyHeader,
  OperationBody,
  ReleaseBody,
  ReversalBody,
  SettlementsBody,
} from './contract.ts'
import { checkWith } from './items.ts'
import type { WalletServices } from './plugin.ts'

type Hot = HotRoute['answer']

/** Makes the handler of each of the lean server's connections. */
export async function hotHandler({
  services,
  ...options
}: Omit<HotOptions, 'routes' | 'log'> & { readonly services: WalletServices }): Promise<() => Handle> {
  const { app } = options
  await app.ready()
  const hot = createHotRoutes({ ...options, log: app.log, routes: await walletHotRoutes(app, services) })
  return () => {
    const callerOf = hot.connect()
    return request => {
      const route = hot.routeOf(request.method, request.target)
      // Also where it is not hot: whatever the key costs, no request overtakes the ones before it for that.
      const caller = callerOf(request.headers['authorization'])
      if (!(caller instanceof Promise)) return hot.answer(route, request, caller)
      return caller.then(
        found => hot.answer(route, request, found),
        () => hot.answer(undefined, request, null),
      )
    }
  }
}

async function walletHotRoutes(app: App, services: WalletServices): Promise<readonly HotRoute[]> {
  const { log } = app
  const { batchMax, settlementsMax } = await services.wallet.capabilities()
  const [ofAdmins, ofOthers] = [true, false].map(mayDeposit => ({ ...services, log, mayDeposit })) as [Calling, Calling]
  const callingOf = (caller: Principal): Calling => (isAtLeast(caller, 'admin') ? ofAdmins : ofOthers)
  const check = checkWith(app.compileSchema)
  const validates = validatorsIn(app)
  const isKeyed = validates(KeyHeader)
  const isOperation = validates(OperationBody)
  const isHold = validates(HoldBody)
  const isRelease = validates(ReleaseBody)
  const isReversal = validates(ReversalBody)
  const isBatch = validates(BatchBody)
  const isSettlements = validates(SettlementsBody)
  const isBalance = validates(BalanceParams)

  const operation =
    (type: 'debit' | 'credit'): Hot =>
    (request, caller) => {
      const { headers } = request
      const parsed = jsonOf(request)
      if (!isKeyed(headers) || !isOperation(parsed)) return null
      const key = copied(headers['idempotency-key'])
      return applyOperation(parsed, { key, type }, callingOf(caller)).then(created)
    }
  const hold: Hot = (request, caller) => {
    const { headers } = request
    const parsed = jsonOf(request)
    if (!isKeyed(headers) || !isHold(parsed)) return null
    return placeHold(parsed, copied(headers['idempotency-key']), callingOf(caller)).then(created)
  }
  const release: Hot = (request, caller) => {
    const { headers } = request
    const parsed = jsonOf(request)
    if (!isKeyed(headers) || !isRelease(parsed)) return null
    return releaseHold(parsed, copied(headers['idempotency-key']), callingOf(caller)).then(answered)
  }
  const reversal: Hot = (request, caller) => {
    const parsed = jsonOf(request)
    return isReversal(parsed) ? reverseKey(parsed.key, callingOf(caller)).then(answered) : null
  }
  const batch: Hot = (request, caller) => {
    const calling = callingOf(caller)
    const parsed = jsonOf(request)
    if (!isBatch(parsed) || parsed.operations.length > batchMax) return null
    return Promise.all(parsed.operations.map(item => applyItem(item, calling, check))).then(listed)
  }
  const settlements: Hot = (request, caller) => {
    const calling = callingOf(caller)
    const parsed = jsonOf(request)
    if (!isSettlements(parsed) || parsed.settlements.length > settlementsMax) return null
    return Promise.all(parsed.settlements.map(item => settleItem(item, calling, check))).then(listed)
  }
  const balance: Hot = ({ target }, caller) => {
    const [user_id, currency, ...more] = target.slice(BALANCES.length).split('/')
    const params = { user_id, currency }
    const isSeen = more.length === 0 && isBalance(params) && maySee(caller, [params.user_id])
    return isSeen ? showBalance(params, callingOf(caller)).then(answered) : null
  }
  const post = (url: string, answer: Hot): HotRoute => ({ method: 'POST', url, target: url, answer })
  return [
    post('/v1/debits', operation('debit')),
    post('/v1/credits', operation('credit')),
    post('/v1/holds', hold),
    post('/v1/holds/release', release),
    post('/v1/reversals', reversal),
    post('/v1/batch', batch),
    post('/v1/settlements', settlements),
    {
      method: 'GET',
      url: `${BALANCES}:user_id/:currency`,
      target: BALANCES,
      answer: balance,
    },
  ]
}

const BALANCES = '/v1/balances/'

/** The same text with none of the request's head behind it: a part of a text keeps the whole of it in memory. */
function copied(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}

function listed(results: readonly object[]): Answer {
  return { status: 200, headers: JSON_TYPE, body: JSON.stringify({ results }) }
}
