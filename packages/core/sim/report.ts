// What happened in simulated clusters, as numbers with names, and as a table to read. A run in which nothing happened
// proves nothing, so the numbers are as much of the result as the absence of a violation.

/** Name → the words of the table, in groups. */
const groups = {
  runs: {
    events: 'events',
    simulatedMs: 'simulated milliseconds',
    adventures: 'adventures',
    framesSent: 'frames sent',
    framesLost: 'frames lost',
  },
  clients: {
    commands: 'commands called',
    commandsAnswered: 'commands answered',
    transactions: 'transactions answered',
    additions: 'additions answered',
    reads: 'linearizable reads answered',
    listReads: 'of which of all keys',
    localReads: 'local reads',
    executions: 'executions, at all replicas',
  },
  'crashes and disks': {
    crashes: 'crashes between two events',
    boundaryCrashes: 'crashes in a call to a port',
    writeErrors: 'writes that failed',
    quotaErrors: 'writes without room',
    slowDisks: 'slow phases of a disk',
    lostDisks: 'lost disks',
    olderDisks: 'disks that came back older',
    damagedDisks: 'disks that came back damaged',
    retired: 'replicas that noticed it and began anew',
  },
  'links and clocks': {
    cuts: 'links cut, both ends told',
    oneWayCuts: 'links silent one way',
    splits: 'groups split',
    silentSplits: 'groups split silently',
    flaps: 'flapping links',
    frozenTimers: 'frozen timers',
    clockJumps: 'clock jumps',
  },
  'what the replicas did': {
    instances: 'instances committed',
    fastPath: 'own commands on the fast path',
    slowPath: 'own commands on the slow path',
    recoveries: 'recoveries begun',
    recoveredToValue: 'instances recovered to their value',
    recoveredToNop: 'instances recovered to Nop',
    recoveredElsewhere: 'recoveries overtaken by a commit at ballot 0',
    nops: 'Nops',
    logPulls: 'catch-ups from a log',
    checkpointTransfers: 'catch-ups from a checkpoint',
  },
  membership: {
    epochs: 'epochs',
    barriers: 'barriers committed',
    voids: 'commands void at the end of an epoch',
    checkpoints: 'checkpoints asked for',
    joins: 'joins',
    leaves: 'leaves',
    seatsLost: 'voters that lost their seat',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>

type Groups = typeof groups
export type Figure = { [G in keyof Groups]: keyof Groups[G] }[keyof Groups]

const figureNames = Object.values(groups).flatMap((names) => Object.keys(names)) as readonly Figure[]

export type Figures = Readonly<Record<Figure, number>>

export function noFigures(): Record<Figure, number> {
  return Object.fromEntries(figureNames.map((name) => [name, 0])) as Record<Figure, number>
}

export function addFigures(total: Record<Figure, number>, more: Figures): void {
  for (const name of figureNames) total[name] += more[name]
}

/** One line a figure, group by group. */
export function figureTable(figures: Figures): string {
  const lines: string[] = []
  for (const [group, names] of Object.entries(groups)) {
    lines.push('', group)
    for (const [name, words] of Object.entries(names)) {
      lines.push(`  ${words.padEnd(46)}${String(figures[name as Figure]).padStart(14)}`)
    }
  }
  return lines.join('\n')
}
