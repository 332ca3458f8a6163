// What must hold of everything that was ever committed: Agreement, Visibility, equal checkpoints.
import { decodeCheckpoint } from '../src/execution/checkpoint.ts'
import { Executor } from '../src/execution/executor.ts'
import { equalBytes } from '../src/lib/equal-bytes.ts'
import { commandsConflict, equalCommands, type Proposal } from '../src/protocol/command.ts'
import { dependsOn, equalDeps } from '../src/protocol/deps.ts'
import type { Epoch } from '../src/protocol/ids.ts'
import type { CommittedInstance } from '../src/protocol/instance.ts'

export class Violation extends Error {}

export class AgreementChecker {
  readonly #committed = new Map<Epoch, Map<string, CommittedInstance>>()
  readonly #checkpoints = new Map<Epoch, Uint8Array>()

  /** Agreement: two replicas that commit an instance commit the same command and the same deps. */
  committed(epoch: Epoch, instance: CommittedInstance, by: string): void {
    let inEpoch = this.#committed.get(epoch)
    if (inEpoch === undefined) {
      inEpoch = new Map()
      this.#committed.set(epoch, inEpoch)
    }
    const name = `${instance.id.row}.${instance.id.seq}`
    const before = inEpoch.get(name)
    if (before === undefined) {
      inEpoch.set(name, instance)
      return
    }
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

  counts(): { readonly instances: number; readonly nops: number } {
    let instances = 0
    let nops = 0
    for (const inEpoch of this.#committed.values()) {
      for (const { command } of inEpoch.values()) {
        instances++
        if (command.kind === 'nop') nops++
      }
    }
    return { instances, nops }
  }

  /**
   * The proposals in the order in which a replica that saw everything would have executed them, from the committed values
   * alone: a witness for the judge of histories, which checks it.
   */
  executionOrder(): Proposal[] {
    const order: Proposal[] = []
    const executed = new Set<string>()
    for (const [epoch, inEpoch] of [...this.#committed].sort(([a], [b]) => a - b)) {
      const start = this.#checkpoints.get(epoch)
      if (start === undefined) continue
      const executor = new Executor(decodeCheckpoint(start).members.voters.length, ({ command }) => {
        if (command.kind !== 'application') return
        for (const proposal of command.proposals) {
          const name = `${proposal.session}:${proposal.number}`
          if (executed.has(name)) continue
          executed.add(name)
          order.push(proposal)
        }
      })
      for (const instance of inEpoch.values()) executor.commit(instance)
      executor.run()
    }
    return order
  }

  /** Visibility: of two committed conflicting commands at least one has the other in its deps. */
  checkVisibility(): void {
    for (const [epoch, inEpoch] of this.#committed) {
      const all = [...inEpoch.values()]
      for (let one = 0; one < all.length; one++) {
        for (let other = one + 1; other < all.length; other++) {
          const a = all[one] as CommittedInstance
          const b = all[other] as CommittedInstance
          if (!commandsConflict(a.command, b.command)) continue
          if (!dependsOn(a.deps, b.id) && !dependsOn(b.deps, a.id)) {
            throw new Violation(
              `Visibility: ${a.id.row}.${a.id.seq} [${a.deps}] and ${b.id.row}.${b.id.seq} [${b.deps}] of epoch ${epoch} do not see each other`,
            )
          }
        }
      }
    }
  }
}
