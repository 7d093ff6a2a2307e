import type { App } from '../app.ts'
import { Health, PROBLEM_ANSWERS } from '../contract.ts'
import { problemOf, refuse } from '../problem.ts'

/** What this server still lacks to take work, in words; empty: it is ready. */
export type NotReady = () => Promise<readonly string[]>

/** A check that hangs is a check that failed. */
const CHECK_MS = 2000

/** `GET /livez` and `GET /readyz`, without a key. */
export function healthRoutes(app: App, notReady: NotReady): void {
  app.get(
    '/livez',
    { schema: { tags: ['health'], security: [], summary: 'Is the process there?', response: { 200: Health } } },
    () => ({ status: 'live' as const }),
  )
  app.get(
    '/readyz',
    {
      schema: {
        tags: ['health'],
        security: [],
        summary: 'Can it take work?',
        response: { 200: Health, ...PROBLEM_ANSWERS },
      },
    },
    async (_request, reply) => {
      const lacking = await checked(notReady)
      if (lacking.length > 0) return refuse(reply, problemOf('UNAVAILABLE', `not ready: ${lacking.join(', ')}`))
      return { status: 'ready' as const }
    },
  )
}

/** What is lacking, within a bounded time and without ever failing. */
export async function checked(notReady: NotReady): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<readonly string[]>(resolve => {
    timer = setTimeout(resolve, CHECK_MS, ['a check does not answer'])
  })
  try {
    return await Promise.race([notReady(), late])
  } catch {
    return ['a check failed']
  } finally {
    clearTimeout(timer)
  }
}
