// Rules broken on purpose: each is an edit of a file under src. A tester that does not see them sees nothing. They are
// applied when modules are loaded (mutant-loader.mjs), so that what ships knows nothing of them.
// Not among them: an answer to a repeated PreAccept that is computed anew ([CO2]). What conflicts at a replica only grows, so
// that such an answer is never closer to the fast path than the stored one, and a larger one does no harm on the slow path.
import { readFileSync } from 'node:fs'

export interface Mutation {
  readonly name: string
  /** The rule of docs/protocol.md that it breaks. */
  readonly rule: string
  /** Under packages/core/src. */
  readonly file: string
  /** Each `find` occurs exactly once in the file. */
  readonly edits: readonly { readonly find: string; readonly replace: string }[]
  /** Explorations that are made before the walks. */
  readonly explore?: readonly string[]
}

export const mutations: readonly Mutation[] = [
  {
    name: 'one-ballot-for-promise-and-vote',
    rule: 'RC2',
    file: 'protocol/recovery.ts',
    explore: ['two-accepted-values'],
    edits: [
      {
        find: ': { ...before, promisedBallot: ballot }',
        replace:
          ": before.phase === 'accepted' ? { ...before, promisedBallot: ballot, acceptedBallot: ballot } : { ...before, promisedBallot: ballot }",
      },
    ],
  },
  {
    name: 'fast-quorum-of-n-f',
    rule: 'CO3',
    file: 'protocol/pre-accept.ts',
    explore: ['four-of-seven'],
    edits: [{ find: 'own && attempt.unchanged >= quorums.fast', replace: 'own && attempt.unchanged >= quorums.slow' }],
  },
  {
    name: 'fast-path-when-answers-equal-each-other',
    rule: 'CO3',
    file: 'protocol/pre-accept.ts',
    edits: [
      {
        find: 'if (equalDeps(message.deps, attempt.initDeps)) attempt.unchanged++',
        replace:
          'attempt.unchanged = 1 + attempt.answers.filter((one, of) => of !== state.row && one !== undefined && equalDeps(one, message.deps)).length',
      },
      {
        find: 'deps: initDeps }, effects)',
        replace:
          'deps: attempt.answers.find((one, of) => of !== state.row && one !== undefined) ?? initDeps }, effects)',
      },
    ],
  },
  {
    name: 'slow-path-takes-own-deps',
    rule: 'CO3',
    file: 'protocol/pre-accept.ts',
    edits: [
      {
        find: 'for (const answer of attempt.answers) if (answer !== undefined) deps = mergeDeps(deps, answer)',
        replace: 'deps = attempt.initDeps',
      },
    ],
  },
  {
    name: 'pre-accept-after-a-promise',
    rule: 'CO2',
    file: 'protocol/pre-accept.ts',
    explore: ['one-command'],
    edits: [
      {
        find: 'if (refusePassed(state, from, id, 0, effects)) return\n  const before = state.log.get(id)',
        replace:
          'const before = state.log.get(id)\n  if (refusePassed(state, from, id, before?.promisedBallot ?? 0, effects)) return',
      },
      {
        find: "const instance: KnownInstance = {\n    id,\n    phase: 'preaccepted',\n    promisedBallot: 0,\n    acceptedBallot: 0,\n    command,\n    deps,\n    initCommand: command,\n    initDeps: message.deps,",
        replace:
          "const instance: KnownInstance = {\n    id,\n    phase: 'preaccepted',\n    promisedBallot: before?.promisedBallot ?? 0,\n    acceptedBallot: 0,\n    command,\n    deps,\n    initCommand: command,\n    initDeps: message.deps,",
      },
    ],
  },
  {
    name: 'pre-accept-answered-before-it-is-durable',
    rule: 'DU4',
    file: 'protocol/pre-accept.ts',
    edits: [
      {
        find: "effects.push({ kind: 'persist', instance })\n  effects.push({ kind: 'send', to: [from], message: { type: 'PreAcceptOk', id, deps } })",
        replace:
          "effects.push({ kind: 'send', to: [from], message: { type: 'PreAcceptOk', id, deps } })\n  effects.push({ kind: 'persist', instance })",
      },
    ],
  },
  {
    name: 'executed-commands-left-out-of-deps',
    rule: 'CF2',
    file: 'protocol/pre-accept.ts',
    edits: [
      {
        find: 'const deps = state.index.conflicts(command)\n',
        replace:
          'const deps = state.index.conflicts(command).map((upTo, of) => (upTo <= (state.log.committedUpTo[of] ?? 0) ? 0 : upTo))\n',
      },
      {
        find: 'mergeDeps(message.deps, state.index.conflicts(command))',
        replace:
          'mergeDeps(message.deps, state.index.conflicts(command).map((upTo, of) => (upTo <= (state.log.committedUpTo[of] ?? 0) ? 0 : upTo)))',
      },
    ],
  },
  {
    name: 'accept-quorum-one-smaller',
    rule: 'CO5',
    file: 'protocol/accept.ts',
    edits: [{ find: 'attempt.acks.size < state.quorums.slow', replace: 'attempt.acks.size < state.quorums.slow - 1' }],
  },
  {
    name: 'accept-below-a-promise',
    rule: 'CO4',
    file: 'protocol/accept.ts',
    edits: [
      {
        find: 'if (refusePassed(state, from, id, ballot, effects)) return',
        replace: 'if (refusePassed(state, from, id, Number.MAX_SAFE_INTEGER, effects)) return',
      },
      {
        find: "phase: 'accepted',\n    promisedBallot: ballot,",
        replace: "phase: 'accepted',\n    promisedBallot: Math.max(ballot, before?.promisedBallot ?? 0),",
      },
    ],
  },
  {
    name: 'commit-refused-after-a-higher-promise',
    rule: 'CO6',
    file: 'protocol/commit.ts',
    explore: ['one-command'],
    edits: [
      {
        find: 'const before = state.log.get(message.id)\n',
        replace:
          'const before = state.log.get(message.id)\n  if (before !== undefined && before.promisedBallot > message.ballot) return\n',
      },
    ],
  },
  {
    name: 'fast-commit-not-durable-before-it-leaves',
    rule: 'CO3',
    file: 'protocol/commit.ts',
    edits: [
      {
        find: "effects.push({ kind: 'persist', instance })\n",
        replace: "effects.push({ kind: 'keep', instance })\n",
      },
    ],
  },
  {
    name: 'recover-ok-without-first-deps',
    rule: 'RC2',
    file: 'protocol/recovery.ts',
    edits: [
      {
        find: "known: { phase: 'preaccepted', command, deps, initDeps }",
        replace: "known: { phase: 'preaccepted', command, deps, initDeps: deps }",
      },
    ],
  },
  {
    name: 'any-accepted-value-instead-of-the-highest',
    rule: 'RC3.2',
    file: 'protocol/recovery-decision.ts',
    explore: ['two-accepted-values'],
    edits: [
      {
        find: '(accepted === undefined || known.acceptedBallot > accepted.ballot)',
        replace: 'accepted === undefined',
      },
    ],
  },
  {
    name: 'coordinator-in-quorum-overlooked',
    rule: 'RC3.3',
    file: 'protocol/recovery-decision.ts',
    edits: [
      {
        find: 'if (answers.has(coordinator)) return',
        replace: 'if (answers.has(coordinator) && coordinator < 0) return',
      },
    ],
  },
  {
    name: 'recovery-without-validate',
    rule: 'RC4',
    file: 'protocol/recovery-decision.ts',
    edits: [{ find: "return { kind: 'validate', value, supporters }", replace: "return { kind: 'accept', value }" }],
  },
  {
    name: 'recovery-without-waiting',
    rule: 'RC5.3',
    file: 'protocol/recovery-decision.ts',
    edits: [{ find: "return 'wait' // [RC5.3]", replace: "return 'accept'" }],
  },
  {
    name: 'too-small-support-overlooked',
    rule: 'RC5.2',
    file: 'protocol/recovery-decision.ts',
    explore: ['two-coordinators-gone'],
    edits: [
      {
        find: 'if (supporters === quorum.size - quorums.e && invalidating',
        replace: 'if (supporters < 0 && invalidating',
      },
    ],
  },
  {
    name: 'validate-records-nothing',
    rule: 'RC4',
    file: 'protocol/recovery.ts',
    explore: ['validated-by-two'],
    edits: [
      { find: '? { ...before, initCommand: command, initDeps: deps }', replace: '? before' },
      { find: ': { ...before, command, initCommand: command, initDeps: deps }', replace: ': before' },
    ],
  },
  {
    name: 'nop-conflicts-with-nothing-while-ordering',
    rule: 'CF2',
    file: 'protocol/conflict-index.ts',
    edits: [
      {
        find: "if (command.kind !== 'application') {\n      // [CF2]",
        replace: "if (command.kind === 'nop') return\n    if (command.kind !== 'application') {\n      // [CF2]",
      },
    ],
  },
  {
    name: 'pre-accepts-forgotten-at-restart',
    rule: 'DU4',
    file: 'protocol/state.ts',
    edits: [
      {
        find: 'for (const instance of options.instances) learn(state, instance)',
        replace:
          "for (const instance of options.instances) if (instance.phase !== 'preaccepted') learn(state, instance)",
      },
    ],
  },
  {
    name: 'seqs-taken-again-after-a-restart',
    rule: 'DU3',
    file: 'protocol/state.ts',
    explore: ['forgotten-proposal'],
    edits: [
      {
        find: 'nextSeq: options.restarted ? options.reservedSeq + 1 : 1,',
        replace:
          'nextSeq: Math.max(0, ...options.instances.filter(({ id }) => id.row === row).map(({ id }) => id.seq)) + 1,',
      },
      { find: 'restartSeq: options.restarted && row !== null ? options.reservedSeq : 0,', replace: 'restartSeq: 0,' },
    ],
  },
  {
    name: 'barriers-not-last-in-a-component',
    rule: 'EX3',
    file: 'execution/executor.ts',
    explore: ['two-voters-barrier'],
    edits: [{ find: 'Number(isBarrier(a)) - Number(isBarrier(b)) || a.seq', replace: 'a.seq' }],
  },
  {
    name: 'component-in-order-of-arrival',
    rule: 'EX3',
    file: 'execution/executor.ts',
    explore: ['two-voters'],
    edits: [{ find: '|| a.seq - b.seq || a.row - b.row', replace: '' }],
  },
]

const source = new URL('../src/', import.meta.url)

export function sourceOf({ file }: Mutation): { readonly url: string; readonly text: string } {
  const url = new URL(file, source)
  return { url: url.href, text: readFileSync(url, 'utf8') }
}

/** The text of the file with the rule broken. Throws where an edit does not apply exactly once. */
export function mutate(mutation: Mutation, text: string): string {
  let mutated = text
  for (const { find, replace } of mutation.edits) {
    const count = text.split(find).length - 1
    if (count !== 1) throw new Error(`${mutation.name}: occurs ${count} times in ${mutation.file}: ${find}`)
    mutated = mutated.replace(find, () => replace)
  }
  return mutated
}
