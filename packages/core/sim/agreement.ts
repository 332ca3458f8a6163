// What must hold of everything that was ever committed: Agreement, Visibility, equal checkpoints.
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { Executor } from '../src/execution/executor.ts'
import { equalBytes } from '../src/lib/equal-bytes.ts'
import { type AccessMode, commandsConflict, commutes, equalCommands } from '../src/protocol/command.ts'
import { type Deps, dependsOn, equalDeps } from '../src/protocol/deps.ts'
import type { Epoch, Row } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'

/** A promise was broken. The message opens with the promise's name and a colon. */
export class Violation extends Error {
  /** Which promise: what stands before the first colon. */
  get promise(): string {
    return this.message.split(':')[0] ?? ''
  }
}

/** How the instances of a run ended. */
export interface CommitCounts {
  readonly instances: number
  readonly nops: number
  readonly barriers: number
  /** Ended at a ballot above 0, so by a recovery, as the value that was proposed … */
  readonly recoveredToValue: number
  /** … or as Nop. */
  readonly recoveredToNop: number
  /** Somebody began to recover it, and it was committed at ballot 0 all the same. */
  readonly recoveredElsewhere: number
  /** Committed commands that their epoch's end left out. */
  readonly voids: number
  /** Voters of one epoch that are none in the next. */
  readonly seatsLost: number
}

interface Known {
  readonly instance: CommittedInstance
  promisedBallot: number
  acceptedBallot: number
}

export class AgreementChecker {
  readonly #committed = new Map<Epoch, Map<string, Known>>()
  readonly #checkpoints = new Map<Epoch, Uint8Array>()

  /** Agreement: two replicas that commit an instance commit the same command and the same deps. */
  committed(epoch: Epoch, instance: CommittedInstance, by: string): void {
    let inEpoch = this.#committed.get(epoch)
    if (inEpoch === undefined) {
      inEpoch = new Map()
      this.#committed.set(epoch, inEpoch)
    }
    const name = `${instance.id.row}.${instance.id.seq}`
    const { promisedBallot, acceptedBallot } = instance
    const known = inEpoch.get(name)
    if (known === undefined) {
      inEpoch.set(name, { instance, promisedBallot, acceptedBallot })
      return
    }
    known.promisedBallot = Math.max(known.promisedBallot, promisedBallot)
    known.acceptedBallot = Math.max(known.acceptedBallot, acceptedBallot)
    const before = known.instance
    if (!equalCommands(before.command, instance.command) || !equalDeps(before.deps, instance.deps)) {
      throw new Violation(
        `Agreement: ${by} committed ${epoch}/${name} as ${instance.command.kind} [${instance.deps}], another as ${before.command.kind} [${before.deps}]`,
      )
    }
  }

  /** Equal states at equal cuts. */
  checkpoint(epoch: Epoch, bytes: Uint8Array, by: string): void {
    const before = this.#checkpoints.get(epoch)
    if (before === undefined) this.#checkpoints.set(epoch, bytes)
    else if (!equalBytes(before, bytes))
      throw new Violation(`Divergence: the checkpoint of epoch ${epoch} at ${by} differs`)
  }

  get epochs(): number {
    return this.#checkpoints.size
  }

  counts(): CommitCounts {
    const counts = {
      instances: 0,
      nops: 0,
      barriers: 0,
      recoveredToValue: 0,
      recoveredToNop: 0,
      recoveredElsewhere: 0,
      voids: 0,
      seatsLost: 0,
    }
    for (const [epoch, inEpoch] of this.#committed) {
      for (const { instance, promisedBallot, acceptedBallot } of inEpoch.values()) {
        const { kind } = instance.command
        counts.instances++
        if (kind === 'nop') counts.nops++
        if (kind === 'barrier') counts.barriers++
        if (acceptedBallot > 0) counts[kind === 'nop' ? 'recoveredToNop' : 'recoveredToValue']++
        else if (promisedBallot > 0) counts.recoveredElsewhere++
      }
      counts.voids += this.#voidsOf(epoch, inEpoch)
    }
    for (const [epoch, bytes] of this.#checkpoints) {
      const next = this.#checkpoints.get(epoch + 1)
      if (next === undefined) continue
      const after = decodeCheckpoint(next).members.voters
      counts.seatsLost += decodeCheckpoint(bytes).members.voters.filter((id) => !after.includes(id)).length
    }
    return counts
  }

  /** Runs the epoch once more: what its first barrier did not find executed is void. */
  #voidsOf(epoch: Epoch, inEpoch: ReadonlyMap<string, Known>): number {
    const start = this.#checkpoints.get(epoch)
    if (start === undefined || !this.#checkpoints.has(epoch + 1)) return 0
    let executed = 0
    let effective = 0
    const executor = new Executor(decodeCheckpoint(start).members.voters.length, () => executed++)
    for (const { instance } of inEpoch.values()) {
      if (instance.command.kind !== 'nop') effective++
      executor.commit(instance)
    }
    executor.run()
    return executor.endedBy === null ? 0 : effective - executed
  }

  /** Visibility: of two committed conflicting commands at least one has the other in its deps. */
  checkVisibility(): void {
    for (const [epoch, inEpoch] of this.#committed) {
      const all = [...inEpoch.values()].map(({ instance }) => instance)
      const unseen = findUnseen(all)
      if (unseen !== null) {
        const [a, b] = unseen
        throw new Violation(
          `Visibility: ${a.id.row}.${a.id.seq} [${a.deps}] and ${b.id.row}.${b.id.seq} [${b.deps}] of epoch ${epoch} do not see each other`,
        )
      }
    }
  }
}

type Pair = readonly [CommittedInstance, CommittedInstance]

/** What touches one key in one mode, of one row. */
interface Lane {
  readonly row: Row
  readonly mode: AccessMode
  readonly instances: CommittedInstance[]
}

/** Two that conflict and do not see each other, key by key; what touches everything is compared with all. */
function findUnseen(all: readonly CommittedInstance[]): Pair | null {
  const byKey = new Map<number, Map<string, Lane>>()
  for (const instance of all) {
    if (touchesEverything(instance)) {
      const other = all.find((one) => one !== instance && !seeEachOther(one, instance))
      if (other !== undefined) return [instance, other]
      continue
    }
    for (const { key, mode } of accesses(instance)) enter(byKey, key, mode, instance)
  }
  for (const lanes of byKey.values()) {
    for (const lane of lanes.values()) {
      lane.instances.sort((a, b) => a.id.seq - b.id.seq)
    }
    for (const lane of lanes.values()) {
      const floors = suffixFloors(lane)
      for (const other of lanes.values()) {
        if (commutes(lane.mode, other.mode)) continue
        const found = unseenBetween(lane, floors, other)
        if (found !== null) return found
      }
    }
  }
  return null
}

function touchesEverything({ command }: CommittedInstance): boolean {
  if (command.kind !== 'application') return command.kind === 'barrier'
  return command.proposals.some(({ footprint }) => footprint === 'everything')
}

function* accesses({ command }: CommittedInstance): Iterable<{ readonly key: number; readonly mode: AccessMode }> {
  if (command.kind !== 'application') return
  for (const { footprint } of command.proposals) if (footprint !== 'everything') yield* footprint
}

function enter(
  byKey: Map<number, Map<string, Lane>>,
  key: number,
  mode: AccessMode,
  instance: CommittedInstance,
): void {
  let lanes = byKey.get(key)
  if (lanes === undefined) {
    lanes = new Map()
    byKey.set(key, lanes)
  }
  const { row } = instance.id
  const name = `${row}/${mode}`
  const lane = lanes.get(name)
  if (lane === undefined) lanes.set(name, { row, mode, instances: [instance] })
  else if (lane.instances.at(-1) !== instance) lane.instances.push(instance)
}

/** For each place in the lane and each row, the lowest that an instance from there on has in its deps. */
function suffixFloors({ instances }: Lane): readonly Deps[] {
  const floors = new Array<Deps>(instances.length)
  let floor: Deps | undefined
  for (let at = instances.length - 1; at >= 0; at--) {
    const { deps } = instances[at] as CommittedInstance
    floor = floor === undefined ? deps : floor.map((one, row) => Math.min(one, deps[row] ?? 0))
    floors[at] = floor
  }
  return floors
}

/** Of each instance of `other`, those in `lane` that it does not have in its deps all have to have it in theirs. */
function unseenBetween(lane: Lane, floors: readonly Deps[], other: Lane): Pair | null {
  for (const instance of other.instances) {
    const { row, seq } = instance.id
    const first = firstAbove(lane.instances, instance.deps[lane.row] ?? 0)
    if (first === lane.instances.length || (floors[first]?.[row] ?? 0) >= seq) continue
    const unseen = lane.instances.slice(first).find((one) => one !== instance && !dependsOn(one.deps, instance.id))
    if (unseen !== undefined) return [unseen, instance]
  }
  return null
}

function firstAbove(instances: readonly CommittedInstance[], seq: number): number {
  let low = 0
  let high = instances.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((instances[middle] as CommittedInstance).id.seq <= seq) low = middle + 1
    else high = middle
  }
  return low
}

function seeEachOther(a: CommittedInstance, b: CommittedInstance): boolean {
  return !commandsConflict(a.command, b.command) || dependsOn(a.deps, b.id) || dependsOn(b.deps, a.id)
}
