/**
 * The ids that orders are given, which are the keys of their holds. A block of them is reserved ahead of its use, so that
 * whoever has the books next knows under which keys there may be a hold without an order; no order pays for a note of its own.
 */
import { createBatcher } from '../batcher.ts'
import { type Leadership, NoLongerLeadingError, type OrderStore } from '../store/order-store.ts'
import { uuidAfter } from '../uuid.ts'

export interface OrderIdsOptions {
  readonly store: Pick<OrderStore, 'reserveIds' | 'forgetIds'>
  readonly leadership: Leadership
  /** UUIDs: later ones sort later. */
  readonly newId: () => string
}

export interface OrderIds {
  /** Each sorts behind the one before. Throws where the store does, and once it is closed. */
  next(): Promise<string> | string
  /** It is an order's, and stored; or nothing is held under it, and never will be. */
  decided(id: string): void
  /** All ids of a block of an earlier time are decided. */
  forget(first: string): void
  /** No id is given any more: what nobody has asked about by now is not noted any longer. */
  close(): Promise<void>
}

/** Of a block: at most as many as the hexadecimal digits count that its ids differ in. */
const SIZE = 1024
const DIGITS = 3

interface Block {
  readonly first: string
  taken: number
  undecided: number
}

export function createOrderIds({ store, leadership, newId }: OrderIdsOptions): OrderIds {
  /** Those that may still be asked about, by what their ids have in common. */
  const blocks = new Map<string, Block>()
  let current: Block | null = null
  let spare: Block | null = null
  let reserving: Promise<void> | null = null
  let isClosed = false

  const forgotten = createBatcher<string, void>(async firsts => {
    await store.forgetIds(firsts)
    return firsts.map(() => undefined)
  }, SIZE)

  function reserve(): Promise<void> {
    reserving ??= reserveOne().finally(() => {
      reserving = null
    })
    return reserving
  }

  async function reserveOne(): Promise<void> {
    const prefix = newId().slice(0, -DIGITS)
    const first = prefix + '0'.repeat(DIGITS)
    await store.reserveIds(leadership, { first, size: SIZE })
    spare = { first, taken: 0, undecided: 0 }
    blocks.set(prefix, spare)
  }

  function take(): string | null {
    if (isClosed) throw new NoLongerLeadingError()
    if (current === null || current.taken === SIZE) {
      current = spare
      spare = null
    }
    if (current === null) return null
    const id = uuidAfter(current.first, current.taken++)
    current.undecided++
    // In time; whoever finds none reserves it for himself, and hears why it can't be.
    if (spare === null && current.taken > SIZE / 2) reserve().catch(() => {})
    return id
  }

  async function takeLater(): Promise<string> {
    for (;;) {
      await reserve()
      const id = take()
      if (id !== null) return id
    }
  }

  /** One that stays is looked at once more than needed, by whoever has the books next. */
  function forget(first: string): void {
    forgotten.add(first).catch(() => {})
  }

  return {
    next: () => take() ?? takeLater(),
    decided(id) {
      // Its block is for whoever has the books next.
      if (isClosed) return
      const prefix = id.slice(0, -DIGITS)
      const block = blocks.get(prefix)
      if (block === undefined) throw new Error(`${id} is of no block that is in use`)
      block.undecided--
      if (block.taken < SIZE || block.undecided > 0) return
      blocks.delete(prefix)
      forget(block.first)
    },
    forget,
    async close() {
      isClosed = true
      await reserving?.catch(() => {})
      for (const { first, undecided } of blocks.values()) if (undecided === 0) forget(first)
      blocks.clear()
      await forgotten.idle()
    },
  }
}
