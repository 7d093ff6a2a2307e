/**
 * Lets calls that arrive while one is under way share the next: at low load a call leaves at once and alone, at high
 * load a batch is what came meanwhile. No timers, no windows (design.md, "Write as little as possible").
 */
export interface Batcher<Item, Result> {
  /** The item's own result; fails only when the whole batch failed. */
  add(item: Item): Promise<Result>
  /** Resolves when nothing is waiting or under way. */
  idle(): Promise<void>
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * @param run takes the items of a batch in the order they came and answers one for one, in order.
 * @param max the most items a batch holds.
 * @param lanes how many batches may be under way at the same time.
 * @param least what waits is shared out among the free lanes, but not into batches smaller than this: what leaves in one
 *   batch comes back in one, and would stay together, so that whoever works on it and whoever sent it take turns to wait.
 */
export function createBatcher<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  max: number,
  lanes = 1,
  least = max,
): Batcher<Item, Result> {
  let waiting: Waiting<Item, Result>[] = []
  let busy = 0
  let scheduled = false
  let idleListeners: (() => void)[] = []

  function start(): void {
    scheduled = false
    while (waiting.length > 0 && busy < lanes) {
      const size = Math.min(max, Math.max(least, Math.ceil(waiting.length / (lanes - busy))))
      const batch = waiting.length <= size ? waiting : waiting.slice(0, size)
      waiting = waiting.length <= size ? [] : waiting.slice(size)
      busy++
      void perform(batch)
    }
    if (waiting.length === 0 && busy === 0) {
      for (const listener of idleListeners) listener()
      idleListeners = []
    }
  }

  async function perform(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await run(batch.map(entry => entry.item))
      if (results.length !== batch.length) throw new Error(`batch of ${batch.length} answered with ${results.length}`)
      batch.forEach((entry, index) => {
        entry.resolve(results[index] as Result)
      })
    } catch (error) {
      for (const entry of batch) entry.reject(error)
    } finally {
      busy--
      start()
    }
  }

  return {
    add: item =>
      new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        if (scheduled || busy >= lanes) return
        // After the microtasks of this moment: whatever they bring still joins.
        scheduled = true
        setImmediate(start)
      }),
    idle: () =>
      waiting.length === 0 && busy === 0
        ? Promise.resolve()
        : new Promise(resolve => {
            idleListeners.push(resolve)
          }),
  }
}
