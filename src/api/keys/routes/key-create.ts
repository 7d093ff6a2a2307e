import { uuidV7 } from '../../../uuid.ts'
import { adminRequestOf } from '../../admin/changing.ts'
import { ChangeHeaders } from '../../admin/contract.ts'
import type { App } from '../../app.ts'
import { PROBLEM_ANSWERS } from '../../contract.ts'
import { invalid } from '../../faults.ts'
import { problemOf, refuse } from '../../problem.ts'
import { replayed } from '../../said.ts'
import { KeyMade, KeyMadeBefore, NewKeyBody } from '../contract.ts'
import { freshKey, hashOfKey } from '../key-text.ts'
import type { KeyServices } from '../plugin.ts'

/** `POST /v1/admin/keys`: the key is shown in this answer and never again. */
export function keyCreateRoute(app: App, { store, clock }: KeyServices): void {
  const schema = {
    tags: ['keys'],
    summary: 'Make a key',
    headers: ChangeHeaders,
    body: NewKeyBody,
    response: { 200: KeyMadeBefore, 201: KeyMade, ...PROBLEM_ANSWERS },
  }
  app.post('/v1/admin/keys', { schema, config: { role: 'admin' } }, async (request, reply) => {
    const { role, user_id, reason } = request.body
    if (role === 'trader' && user_id === undefined) {
      return refuse(reply, invalid('/user_id', 'is missing: the key of a trader is bound to a user'))
    }
    if (role !== 'trader' && user_id !== undefined) {
      return refuse(reply, invalid('/user_id', `is for traders alone: a key of the role ${role} is bound to no user`))
    }
    const atMs = clock.now()
    const key = freshKey()
    const made = { id: uuidV7(atMs), role, userId: user_id?.toLowerCase() ?? null }
    const stored = { ...made, hash: hashOfKey(key), lastFour: key.slice(-4) }
    const changed = await store.create(stored, { ...adminRequestOf(request, reason), id: uuidV7(atMs), atMs })
    switch (changed.outcome) {
      case 'done':
        return reply.code(201).header('cache-control', 'no-store').send({ key, id: changed.answer })
      case 'replayed':
        replayed(reply)
        return reply.code(200).send({ key: null, id: changed.answer })
      case 'key-reused':
        return refuse(reply, problemOf('IDEMPOTENCY_KEY_REUSED', 'the key was used before for another change'))
      case 'refused':
        return changed.refusal
    }
  })
}
