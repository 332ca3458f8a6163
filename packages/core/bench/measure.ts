// How the benches measure: CPU time of the process, because the wall clock of a shared machine says little; contenders in
// turns, so that a machine that slows down slows all of them; a fixed piece of work in each round, so that a noisy machine
// shows. Which contenders there are is elsewhere.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Bytes of live objects: garbage is collected first. */
export function liveHeapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/** Starts to count this process's CPU time, all threads; the returned function says how many seconds it was so far. */
export function startCpu(): () => number {
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  }
}

export interface Quartiles {
  readonly low: number
  readonly median: number
  readonly high: number
}

export function quartiles(figures: readonly number[]): Quartiles {
  const sorted = figures.toSorted((a, b) => a - b)
  const at = (part: number) => {
    const place = (sorted.length - 1) * part
    const below = sorted[Math.floor(place)] ?? Number.NaN
    const above = sorted[Math.ceil(place)] ?? Number.NaN
    return below + (above - below) * (place - Math.floor(place))
  }
  return { low: at(0.25), median: at(0.5), high: at(0.75) }
}

let sink = 0

/** Always the same work, about 50 ms of it: integers, a map, short-lived objects. Returns its CPU milliseconds. */
export function calibrate(): number {
  const seconds = startCpu()
  const map = new Map<number, { readonly value: number }>()
  let hash = 1
  for (let index = 0; index < 1_600_000; index++) {
    for (let mix = 0; mix < 8; mix++) hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) + mix
    map.set(index & 0xfff, { value: hash })
  }
  for (const { value } of map.values()) sink ^= value
  return seconds() * 1_000
}

/** What keeps the calibration's work from being optimised away. */
export function calibrationSink(): number {
  return sink
}

/** One thing to be measured again and again. */
export interface Measurement {
  readonly name: string
  run(): Promise<number>
}

export interface Rounds {
  readonly rounds: number
  /** CPU milliseconds of the fixed work, one a round. */
  readonly calibrationMs: readonly number[]
  /** One figure a round, by the measurement's name. */
  readonly figures: ReadonlyMap<string, readonly number[]>
}

/** Each round runs each measurement once, every second round in the opposite order. A round that warms up is not counted. */
export async function interleave(measurements: readonly Measurement[], rounds: number): Promise<Rounds> {
  const figures = new Map<string, number[]>(measurements.map(({ name }) => [name, []]))
  const calibrationMs: number[] = []
  for (const { run } of measurements) await run()
  for (let round = 0; round < rounds; round++) {
    collect()
    calibrate() // compiled again, if it has to be
    calibrationMs.push(calibrate())
    const order = round % 2 === 0 ? measurements : measurements.toReversed()
    for (const { name, run } of order) {
      collect() // what whoever ran before has left, so that nobody pays for it
      figures.get(name)?.push(await run())
    }
  }
  return { rounds, calibrationMs, figures }
}

export function figuresOf(rounds: Rounds, name: string): readonly number[] {
  const figures = rounds.figures.get(name)
  if (figures === undefined) throw new Error(`nothing was measured under the name ${name}`)
  return figures
}

export function quartilesOf(rounds: Rounds, name: string): Quartiles {
  return quartiles(figuresOf(rounds, name))
}

/** Round by round, `name` over `base`: what a slow moment of the machine does to both of a round cancels out. */
export function ratios(rounds: Rounds, name: string, base: string): Quartiles {
  const bases = figuresOf(rounds, base)
  return quartiles(figuresOf(rounds, name).map((figure, round) => figure / (bases[round] ?? Number.NaN)))
}
