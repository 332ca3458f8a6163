// Sorting that can be put off half way: a list of any length, in slices of bounded work.

/** Sorted by the engine in one go. */
const runLength = 256

/**
 * Sorts in place, stably, by merging ever longer runs. Yields every now and then with about how many elements were moved
 * since; whoever asks for the next value goes on. `items` is in no order that means anything before the end.
 */
export function* sortInSlices<T>(items: T[], compare: (a: T, b: T) => number): Generator<number> {
  const { length } = items
  if (length <= runLength) {
    items.sort(compare)
    return
  }
  let from = items.slice()
  for (let start = 0; start < length; start += runLength) {
    const run = from.slice(start, start + runLength).sort(compare)
    for (let at = 0; at < run.length; at++) from[start + at] = run[at] as T
    yield runLength
  }
  let to = items
  for (let width = runLength; width < length; width *= 2) {
    for (let start = 0; start < length; start += 2 * width) {
      let left = start
      const leftEnd = Math.min(start + width, length)
      let right = leftEnd
      const rightEnd = Math.min(start + 2 * width, length)
      for (let at = start; at < rightEnd; at++) {
        const takeLeft = left < leftEnd && (right >= rightEnd || compare(from[left] as T, from[right] as T) <= 0)
        to[at] = (takeLeft ? from[left++] : from[right++]) as T
        if ((at & (runLength - 1)) === 0) yield runLength
      }
    }
    ;[from, to] = [to, from]
  }
  if (from === items) return
  for (let at = 0; at < length; at++) {
    items[at] = from[at] as T
    if ((at & (runLength - 1)) === 0) yield runLength
  }
}
