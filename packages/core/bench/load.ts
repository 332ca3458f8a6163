// What is asked of a cluster: so many commands, so many of them under way at one time, on these keys. One driver for all
// contenders, so that they differ in nothing but themselves; it checks that every command was answered once.
import { createRandom } from '../src/lib/random.ts'

export interface Load {
  readonly replicas: number
  /** Commands under way at one time, in all. */
  readonly inFlight: number
  readonly commands: number
  /** So many of a hundred commands write one key that all replicas write; the others write keys of their replica's own. */
  readonly conflictPercent: number
  /** Length of the encoded command. */
  readonly commandBytes: number
  readonly keys: number
  /** Whether all replicas propose, or only the first. */
  readonly proposers: 'all' | 'first'
  /** Commands that may share an instance; 1 for one command an instance. Contenders without instances pass this over. */
  readonly batchMax: number
}

/** The load that the speeds to reach are asked for; every row changes one thing of it. */
export const baseLoad: Load = {
  replicas: 3,
  inFlight: 32,
  commands: 8_000,
  conflictPercent: 0,
  commandBytes: 48,
  keys: 1_000,
  proposers: 'all',
  batchMax: 1,
}

/** A cluster, or what is measured beside one. */
export interface Subject {
  /** `set(key, value)` at the replica `at`; `answered` is called once, when that replica knows the result. */
  set(at: number, key: string, value: string, answered: () => void): void
  /** What each replica holds in the end, as text that is equal for equal states. */
  states(): readonly string[]
  /** How many commands each replica has executed. */
  executed(): readonly number[]
  /** What went through the network since it was asked last. */
  takeTraffic(): Traffic
  close(): Promise<void>
}

export interface Traffic {
  readonly frames: number
  readonly bytes: number
}

export type OpenSubject = (load: Load) => Promise<Subject>

export interface LoadFigure {
  /** Answered commands per second of this process's CPU time, from the first proposal until nothing is left to do at once. */
  readonly perCpuSecond: number
  readonly perSecond: number
  readonly traffic: Traffic
}

const hotKey = 'k0000hot'
/** What `set`, its two arguments and a key of eight characters take in the encoded command, besides the value's text. */
const overheadBytes = 18

interface Commands {
  readonly keys: readonly string[]
  readonly values: readonly string[]
}

/** Made before the clock runs; `offset` makes the values of later parts of a long run new ones. */
export function commandsOf(load: Load, offset = 0): Commands {
  const random = createRandom(20_261_124 + offset)
  const { commands, replicas, conflictPercent, proposers, commandBytes } = load
  const sources = proposers === 'all' ? replicas : 1
  const perReplica = Math.max(1, Math.floor(load.keys / sources))
  // text of 128 bytes and more needs a second byte for its length
  const textBytes = commandBytes - overheadBytes < 128 ? commandBytes - overheadBytes : commandBytes - overheadBytes - 1
  const keys: string[] = []
  const values: string[] = []
  for (let index = 0; index < commands; index++) {
    const number = offset + index
    const own = (number % sources) * perReplica + (Math.floor(number / sources) % perReplica)
    const hot = random.chance(conflictPercent / 100)
    keys.push(hot ? hotKey : `k${String(own).padStart(7, '0')}`)
    values.push(String(number).padStart(textBytes, '.'))
  }
  return { keys, values }
}

/** Runs the load, and checks that every command was answered once and that all replicas hold the same in the end. */
export async function runLoad(
  subject: Subject,
  load: Load,
  startCpu: () => () => number,
  offset = 0,
): Promise<LoadFigure> {
  const figure = await drive(subject, load, startCpu, offset)
  checkStates(subject, offset + load.commands)
  return figure
}

async function drive(subject: Subject, load: Load, startCpu: () => () => number, offset: number): Promise<LoadFigure> {
  const { keys, values } = commandsOf(load, offset)
  const { commands, inFlight, replicas, proposers } = load
  const answers = new Uint8Array(commands)
  let next = 0
  let open = commands
  let finish: () => void = () => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const proposeNext = () => {
    if (next === commands) return
    const number = next++
    subject.set(proposers === 'all' ? number % replicas : 0, keys[number] ?? '', values[number] ?? '', () => {
      answers[number] = (answers[number] ?? 0) + 1
      if (--open === 0) finish()
      else proposeNext()
    })
  }

  subject.takeTraffic()
  const cpuSeconds = startCpu()
  const wallBefore = performance.now()
  for (let started = 0; started < inFlight; started++) proposeNext()
  await finished
  const wallSeconds = (performance.now() - wallBefore) / 1_000
  // what the last answers set going at the other replicas is part of the work
  await immediate()
  await immediate()
  const cpu = cpuSeconds()
  const traffic = subject.takeTraffic()
  await untilRest(subject, offset + commands)

  const wrong = answers.findIndex((count) => count !== 1)
  if (wrong >= 0) throw new Error(`command ${wrong} was answered ${answers[wrong]} times`)
  return { perCpuSecond: commands / cpu, perSecond: commands / wallSeconds, traffic }
}

function immediate(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** Where something waits for a timer. */
async function untilRest(subject: Subject, executed: number): Promise<void> {
  for (let tries = 0; subject.executed().some((count) => count < executed); tries++) {
    if (tries > 2_000) throw new Error(`the replicas executed ${subject.executed().join(', ')}, not ${executed}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function checkStates(subject: Subject, commands: number): void {
  const states = subject.states()
  if (new Set(states).size !== 1) throw new Error(`the replicas hold different states: ${states.join(', ')}`)
  const executed = subject.executed()
  if (executed.some((count) => count !== commands)) {
    throw new Error(`the replicas executed ${executed.join(', ')} commands instead of ${commands}`)
  }
}
