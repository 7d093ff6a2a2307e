// Keys longer than this are no slips of a finger, and comparing them costs their length squared.
const LONGEST_COMPARED = 64

/**
 * The candidate whose name takes the fewest edits to reach from the one given; the first of equals. There has to be at
 * least one.
 */
export function nearest(
  name: string,
  candidates: readonly string[],
  nameOf: (candidate: string) => string = candidate => candidate,
): string {
  const sought = normalize(name)
  const ranked = candidates.map(candidate => ({
    candidate,
    distance: editDistance(sought, normalize(nameOf(candidate))),
  }))
  return ranked.reduce((best, other) => (other.distance < best.distance ? other : best)).candidate
}

/** `workerPoolSize`, `worker-pool-size` and `WORKER_POOL_SIZE` are one name written three ways. */
function normalize(name: string): string {
  return name
    .slice(0, LONGEST_COMPARED)
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toLowerCase()
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one text into the other: `prot` → `port` is 1. */
function editDistance(from: string, to: string): number {
  let beforeLast: readonly number[] = []
  let last: readonly number[] = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1]
      const replaced = at(last, column - 1) + (isSame ? 0 : 1)
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      const swapped = row > 1 && column > 1 && isSwap ? at(beforeLast, column - 2) + 1 : replaced
      current.push(Math.min(replaced, swapped, at(last, column) + 1, at(current, column - 1) + 1))
    }
    beforeLast = last
    last = current
  }
  return at(last, to.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
