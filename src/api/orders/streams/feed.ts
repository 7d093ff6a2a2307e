/** What happened last of one kind, for those who follow it and for those who come back. */

/** An event as it is sent. */
export interface Entry {
  /** Who has seen the event of this number, or a later one, need not be told. */
  readonly seenFrom: number
  readonly text: string
}

/** Somebody who follows. */
export interface Reader {
  send(text: string): void
  /** Nothing more will come. */
  end(): void
}

export interface Feed {
  /** Of its last event. */
  lastId(): number
  /** From this number on all is told; where anything was told before, that stands. */
  beginAt(id: number): void
  /** The entries of one batch: what has happened from one number on to another. */
  push(entries: readonly Entry[], fromId: number, toId: number): void
  /** All that came after the event of a number; null: that is too long ago, never was, or the feed is over. */
  after(id: number): string | null
  /** The returned function ends it. */
  follow(reader: Reader): () => void
  isFollowed(): boolean
  /** It is over: what it would be told from now on may have a gap. */
  end(): void
}

/** @param mostLength the most characters that are kept for those who come back. */
export function createFeed(mostLength: number): Feed {
  const readers = new Set<Reader>()
  let entries: Entry[] = []
  /** Where in `entries` that begins which is still kept. */
  let first = 0
  let length = 0
  /** The first number after which all is kept; null: nothing has been told yet. */
  let fromId: number | null = null
  let lastId = 0
  let isOver = false

  function keep(added: readonly Entry[]): void {
    for (const entry of added) {
      entries.push(entry)
      length += entry.text.length
    }
    while (length > mostLength) {
      const dropped = entries[first++] as Entry
      length -= dropped.text.length
      fromId = Math.max(fromId ?? 0, dropped.seenFrom)
    }
    if (first > entries.length / 2) {
      entries = entries.slice(first)
      first = 0
    }
  }

  return {
    lastId: () => lastId,
    beginAt(id) {
      if (fromId !== null) return
      fromId = id
      lastId = id
    },
    push(added, from, to) {
      fromId ??= from
      lastId = to
      keep(added)
      if (readers.size === 0) return
      const text = added.map(entry => entry.text).join('')
      for (const reader of readers) reader.send(text)
    },
    after(id) {
      if (isOver || fromId === null || id < fromId || id > lastId) return null
      // What was missed is the end of what is kept.
      let at = entries.length
      while (at > first && (entries[at - 1] as Entry).seenFrom > id) at--
      return entries
        .slice(at)
        .map(entry => entry.text)
        .join('')
    },
    follow(reader) {
      readers.add(reader)
      return () => readers.delete(reader)
    },
    isFollowed: () => readers.size > 0,
    end() {
      isOver = true
      for (const reader of readers) reader.end()
      readers.clear()
    },
  }
}
