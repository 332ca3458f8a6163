// What every fuzzing of a decoder looks at besides what the decoder says: that no input takes it long, and that its memory does
// not grow with what it is given.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const slowMs = 50
/** More than a heap varies by from one collection to the next, far less than a byte for each input. */
const growthMax = 4 * 1_024 * 1_024

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

export class FuzzWatch {
  readonly #heapBefore: number
  #slowestMs = 0

  constructor() {
    collect()
    this.#heapBefore = process.memoryUsage().heapUsed
  }

  /** Runs `decode` on one input; throws when it takes long, and again when it is asked again. */
  time<Result>(name: string, show: () => string, decode: () => Result): Result {
    const startedAt = performance.now()
    const decoded = decode()
    let tookMs = performance.now() - startedAt
    // A busy machine is not the decoder's doing: what is slow has to be slow again.
    for (let again = 0; tookMs > slowMs && again < 3; again += 1) {
      const from = performance.now()
      decode()
      tookMs = Math.min(tookMs, performance.now() - from)
    }
    this.#slowestMs = Math.max(this.#slowestMs, tookMs)
    if (tookMs > slowMs) throw new Error(`${name} took ${tookMs} ms for ${show()}`)
    return decoded
  }

  /** The figures, with `part` before their names. Throws when the growth is no accident any more. */
  end(part: string): Record<string, number> {
    collect()
    const growth = process.memoryUsage().heapUsed - this.#heapBefore
    if (growth > growthMax) throw new Error(`${part}: the heap has grown by ${growth} bytes`)
    return { [`${part}SlowestMs`]: Math.round(this.#slowestMs * 10) / 10, [`${part}HeapGrowthBytes`]: growth }
  }
}
