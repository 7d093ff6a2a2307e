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

export interface Lanes {
  /** How many batches may be under way at the same time. */
  readonly count: number
  /**
   * What waits is shared out among the free lanes, but not into batches smaller than this, which is `max` if it is not given:
   * what leaves in one batch comes back in one, and would stay together, so that whoever works on it and whoever sent it take
   * turns to wait.
   */
  readonly least?: number
  /** How many must wait for a batch to leave beside another; 1 if it is not given. Many small batches cost more than a few. */
  readonly beside?: number
}

/**
 * @param run takes the items of a batch in the order they came and answers one for one, in order.
 * @param max the most items a batch holds.
 * @param lanes if they are not given, one batch is under way at a time.
 */
export function createBatcher<Item, Result>(
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
  max: number,
  { count, least = max, beside = 1 }: Lanes = { count: 1 },
): Batcher<Item, Result> {
  let waiting: Waiting<Item, Result>[] = []
  let busy = 0
  let scheduled = false
  let idleListeners: (() => void)[] = []

  /** Whether a batch may leave now. */
  function isReady(): boolean {
    return busy === 0 ? waiting.length > 0 : busy < count && waiting.length >= beside
  }

  function start(): void {
    scheduled = false
    while (isReady()) {
      const size = Math.min(max, Math.max(least, Math.ceil(waiting.length / (count - busy))))
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
        if (scheduled || !isReady()) return
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
