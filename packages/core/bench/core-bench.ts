// The whole core under loads that differ from a base load in one thing each, with the bound loop and the yardsticks beside
// it in the same rounds.
import { openBound } from './bound.ts'
import { openEngines, openReplicas } from './cluster.ts'
import { baseLoad, type Load, type OpenSubject, runLoad, type Traffic } from './load.ts'
import { figuresOf, interleave, type Measurement, quartiles, ratios, startCpu } from './measure.ts'
import { openRaft } from './raft.ts'
import { calibrationTable, type Report, rounded, roundedQuartiles, twoPlaces, whole, withQuartiles } from './report.ts'
import { openYjs } from './yjs.ts'

/** `core` is the engine with its ports; `api` the same with the public API on top. */
export const contenders: Readonly<Record<string, OpenSubject>> = {
  core: openEngines,
  api: openReplicas,
  bound: openBound,
  yjs: openYjs,
  raft: openRaft,
}

const levels = ['core', 'api'] as const
/** They do so much less for a command that they need more of them for a figure. */
const cheapCommands = 3
/**
 * Of each run, before the clock runs: what is compiled for a cluster is thrown away with it, and the next one has its full
 * speed only after so many commands.
 */
const warmUpCommands = 3_000

export interface Row {
  readonly name: string
  readonly load: Load
  readonly contenders: readonly string[]
  /** Of the commands of a run: less where no speed is asked for. */
  readonly share: number
}

export const baseRow = 'base'
/** What batches are compared with: a pipe that is full enough for them. */
const fullRow = '1,000 in flight'

function row(name: string, change: Partial<Load>, beside: readonly string[] = []): Row {
  return { name, load: { ...baseLoad, ...change }, contenders: [...levels, ...beside], share: 1 }
}

function coreOnly(row: Row): Row {
  return { ...row, contenders: ['core'] }
}

/** What the speeds to reach are asked of. */
export const targetRows: readonly Row[] = [
  row(baseRow, {}, ['bound', 'yjs', 'raft']),
  row('5 replicas', { replicas: 5 }),
  row('7 replicas', { replicas: 7 }),
  row('25 % conflicts', { conflictPercent: 25 }),
  row('100 % conflicts', { conflictPercent: 100 }),
  row(fullRow, { inFlight: 1_000 }),
  row('batches of 100', { inFlight: 1_000, batchMax: 100 }),
]

/** The same without what no speed is asked of. */
export const quickRows: readonly Row[] = targetRows.map((row) => (row.name === baseRow ? row : coreOnly(row)))

const otherRows: readonly Row[] = [
  row('2 % conflicts', { conflictPercent: 2 }),
  row('batches of 10', { inFlight: 1_000, batchMax: 10 }),
  row('1 replica', { replicas: 1 }),
  row('1 in flight', { inFlight: 1 }, ['bound', 'yjs', 'raft']),
  ...[1, 5, 7].flatMap((replicas) => [
    coreOnly(row(`${replicas} replica${replicas === 1 ? '' : 's'}, 1 in flight`, { replicas, inFlight: 1 })),
    coreOnly(row(`${replicas} replica${replicas === 1 ? '' : 's'}, 1,000 in flight`, { replicas, inFlight: 1_000 })),
  ]),
  row('commands of 1 KiB', { commandBytes: 1_024 }),
  row('one proposer', { proposers: 'first' }),
]

export const allRows: readonly Row[] = [...targetRows, ...otherRows.map((row) => ({ ...row, share: 0.5 }))]

export interface CoreOptions {
  readonly rows: readonly Row[]
  readonly rounds: number
  /** Commands of one run of the core. */
  readonly commands: number
}

export async function benchCore({ rows, rounds, commands }: CoreOptions): Promise<Report> {
  const traffic = new Map<string, Traffic & { readonly commands: number }>()
  const wall = new Map<string, number[]>()
  const measurements: Measurement[] = rows.flatMap((row) =>
    row.contenders.map((contender) => {
      const name = nameOf(row.name, contender)
      const cheap = contender === 'core' || contender === 'api' ? 1 : cheapCommands
      const load = { ...row.load, commands: commandsOfRun(row.load, commands * row.share * cheap) }
      const open = contenders[contender]
      if (open === undefined) throw new Error(`there is no contender ${contender}`)
      return {
        name,
        run: async () => {
          const subject = await open(load)
          const warmUp = { ...load, commands: commandsOfRun(row.load, warmUpCommands) }
          // no collection from here on: it throws away some of what was compiled just now, and halves everyone's figure
          await runLoad(subject, warmUp, startCpu)
          const figure = await runLoad(subject, load, startCpu, warmUp.commands)
          await subject.close()
          traffic.set(name, { ...figure.traffic, commands: load.commands })
          wall.set(name, [...(wall.get(name) ?? []), figure.perSecond])
          return figure.perCpuSecond
        },
      }
    }),
  )
  const measured = await interleave(measurements, rounds)

  const base = nameOf(baseRow, 'core')
  const facts = new Map<string, number>()
  const data: Record<string, unknown>[] = []
  const lines = rows.flatMap((row) =>
    row.contenders.map((contender) => {
      const name = nameOf(row.name, contender)
      const perCpuSecond = quartiles(figuresOf(measured, name))
      const ratio = ratios(measured, name, base)
      const perSecond = quartiles(wall.get(name) ?? []).median
      const seen = traffic.get(name) ?? { frames: 0, bytes: 0, commands: 1 }
      const peers = row.load.replicas - 1
      const bytes = peers === 0 ? 0 : seen.bytes / seen.commands / peers
      const frames = seen.frames / seen.commands
      facts.set(`${name} per CPU-second`, perCpuSecond.median)
      facts.set(`${name} / ${base}`, ratio.median)
      facts.set(`${name} bytes`, bytes)
      if (row.load.batchMax > 1 && rows.some((other) => other.name === fullRow)) {
        facts.set(`${name} / unbatched`, ratios(measured, name, nameOf(fullRow, contender)).median)
      }
      data.push({
        row: row.name,
        contender,
        perCpuSecond: roundedQuartiles(perCpuSecond),
        ratio: roundedQuartiles(ratio),
        perSecond: rounded(perSecond),
        bytesPerCommandPerPeer: rounded(bytes),
        framesPerCommand: rounded(frames),
      })
      return [
        row.name,
        contender,
        withQuartiles(perCpuSecond, whole),
        withQuartiles(ratio, twoPlaces),
        whole(perSecond),
        bytes.toFixed(1),
        frames.toFixed(2),
      ]
    }),
  )
  return {
    facts,
    tables: [
      {
        bench: 'core',
        title: coreTitle(rounds, commands),
        columns: [
          'load',
          'contender',
          'commands per CPU-second (quartiles)',
          `of ${base}, round by round`,
          'per second',
          'bytes per command and peer',
          'frames per command',
        ],
        rows: lines,
        data: { rounds, commands, rows: data },
      },
      calibrationTable(measured),
    ],
  }
}

/** Fewer where each takes longer, and enough to fill the pipe some times over. */
function commandsOfRun({ replicas, inFlight }: Load, commands: number): number {
  const slow = Math.max(1, replicas / 3) * (inFlight === 1 ? 2 : 1)
  return Math.max(Math.round(commands / slow), 3 * inFlight)
}

function nameOf(rowName: string, contender: string): string {
  return `${rowName}: ${contender}`
}

function coreTitle(rounds: number, commands: number): string {
  const { replicas, inFlight, commandBytes, keys } = baseLoad
  return (
    `The whole core. Base: ${replicas} replicas in one process, all proposing, ${inFlight} commands in flight in all, ` +
    `no conflicts, ${commandBytes}-byte commands on ${whole(keys)} keys, one command an instance; the other loads ` +
    `differ in what they name. ${rounds} rounds, contenders in turns, each time a new cluster; ` +
    `${whole(commands)} commands of the core after ${whole(warmUpCommands)} to warm up (fewer where each takes longer, ` +
    'and where no speed is asked for).'
  )
}
