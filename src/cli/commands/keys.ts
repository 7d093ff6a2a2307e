import type { KeyView } from '../../api/keys/contract.ts'
import { openAdminClient, type ServerOptions } from '../admin-client.ts'
import { EXIT, type ExitStatus } from '../exit-status.ts'
import { interruption } from '../signals.ts'
import { tableOf } from '../table.ts'

export interface CreateKeyOptions extends ServerOptions {
  readonly role: string
  readonly userId?: string
  readonly reason?: string
}

export interface ListKeysOptions extends ServerOptions {
  readonly role?: string
  readonly status: string
  readonly limit: string
  readonly cursor?: string
}

export interface RevokeKeyOptions extends ServerOptions {
  readonly reason?: string
}

interface Page {
  readonly keys: readonly KeyView[]
  readonly next_cursor: string | null
}

const KEYS = '/v1/admin/keys'
const LIST = 'legwork keys list shows what there is'

/** `legwork keys create`: the key alone goes to standard output, so that a script can keep it. */
export async function createKeyCommand(options: CreateKeyOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const { role, userId, reason } = options
  const body = { role, user_id: userId, reason }
  const made = await client.post<{ readonly key: string; readonly id: string }>(
    KEYS,
    body,
    'A server on PostgreSQL keeps keys',
  )
  if (options.json === true) process.stdout.write(`${JSON.stringify(made)}\n`)
  else {
    process.stderr.write(`A key with the role ${role}, shown this once; its id is ${made.id}:\n`)
    process.stdout.write(`${made.key}\n`)
  }
  return EXIT.done
}

/** `legwork keys list`. */
export async function listKeysCommand(options: ListKeysOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const { role, status, limit, cursor } = options
  const query = new URLSearchParams({
    status,
    limit,
    ...(role === undefined ? {} : { role }),
    ...(cursor === undefined ? {} : { cursor }),
  })
  const page = await client.get<Page>(`${KEYS}?${query.toString()}`, LIST)
  process.stdout.write(options.json === true ? `${JSON.stringify(page)}\n` : textOf(page))
  return EXIT.done
}

/** `legwork keys revoke ID`. */
export async function revokeKeyCommand(id: string, options: RevokeKeyOptions): Promise<ExitStatus> {
  const client = await openAdminClient(options, interruption())
  const body = options.reason === undefined ? {} : { reason: options.reason }
  const path = `${KEYS}/${encodeURIComponent(id)}/revoke`
  const answer = await client.post<{ readonly key: KeyView }>(path, body, LIST)
  const { role, last_four, revoked_at, revoked_by } = answer.key
  const said = `revoked: the key with the role ${role} that ends in ${last_four}, ${revoked_at} by ${revoked_by}\n`
  process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : said)
  return EXIT.done
}

function textOf({ keys, next_cursor }: Page): string {
  if (keys.length === 0) return 'no keys besides the admin key\n'
  const rows = keys.map(key => [
    key.id,
    key.role,
    key.user_id ?? '',
    `…${key.last_four}`,
    `${key.created_at} by ${key.created_by}`,
    key.revoked_at === null ? '' : `${key.revoked_at} by ${key.revoked_by}`,
  ])
  const more = next_cursor === null ? '' : `\nthere are more: legwork keys list --cursor ${next_cursor}\n`
  return tableOf([['id', 'role', 'user', 'ends in', 'created', 'revoked'], ...rows]) + more
}
