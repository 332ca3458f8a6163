// Random and mutated bytes for every decoder of the core: each either gives a value or throws DecodeError.
import { DecodeError, Reader, Writer } from '../src/codec/bytes.ts'
import {
  controlEpoch,
  readControlMessage,
  readFrameHead,
  readMessage,
  writeFrameHead,
  writeMessage,
} from '../src/codec/message.ts'
import {
  decodeDisksHeard,
  decodeIdentity,
  decodeInstance,
  decodeOutboxEntry,
  decodeReplicaKey,
  decodeReservation,
  decodeSeal,
  encodeInstance,
  encodeOutboxEntry,
} from '../src/codec/record.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../src/execution/checkpoint.ts'
import { createRandom, type Random } from '../src/lib/random.ts'
import { replicaIdFromBytes } from '../src/protocol/ids.ts'

const voters = [1, 2, 3].map((byte) => replicaIdFromBytes(new Uint8Array(16).fill(byte)))

function readFrame(bytes: Uint8Array): void {
  const reader = new Reader(bytes)
  if (readFrameHead(reader).epoch === controlEpoch) while (reader.remaining > 0) readControlMessage(reader)
  else while (reader.remaining > 0) readMessage(reader, voters)
}

const decoders: Readonly<Record<string, (bytes: Uint8Array) => void>> = {
  frame: readFrame,
  instance: (bytes) => void decodeInstance(bytes, voters),
  identity: (bytes) => void decodeIdentity(bytes),
  reservation: (bytes) => void decodeReservation(bytes),
  checkpoint: (bytes) => void decodeCheckpoint(bytes),
  seal: (bytes) => void decodeSeal(bytes),
  disksHeard: (bytes) => void decodeDisksHeard(bytes),
  replicaKey: (bytes) => void decodeReplicaKey(bytes),
  outboxEntry: (bytes) => void decodeOutboxEntry(bytes),
}

/** Well-formed bytes to start mutations from. */
function samples(): Uint8Array[] {
  const [session] = voters
  if (session === undefined) return []
  const payload = Uint8Array.from({ length: 48 }, (_, index) => index)
  const proposal = { session, number: 7, ackedUpTo: 3, footprint: [{ key: 12_345, mode: 'write' as const }], payload }
  const command = { kind: 'application' as const, proposals: [proposal] }
  const id = { row: 0, seq: 5 }
  const deps = [4, 0, 2]
  const writer = new Writer()
  writeFrameHead(writer, { epoch: 1, writes: 7 })
  writeMessage(writer, { type: 'PreAccept', id, command, deps }, voters)
  writeMessage(writer, { type: 'Commit', id, ballot: 0, command, deps }, voters)
  const known = { phase: 'preaccepted' as const, command, deps, initDeps: deps }
  writeMessage(writer, { type: 'RecoverOk', id, ballot: 17, known }, voters)
  const value = { promisedBallot: 0, acceptedBallot: 0, command, deps, initCommand: command, initDeps: deps }
  return [
    writer.finish(),
    encodeInstance({ id, phase: 'preaccepted', ...value }, voters),
    encodeOutboxEntry({ ...proposal, openedIn: 2 }),
    encodeCheckpoint({
      cluster: session,
      machine: 'kv',
      machineVersion: 1,
      epoch: 2,
      members: { voters, observers: [] },
      executed: 9,
      sessions: new Map([
        [session, { openedIn: 1, trimmedTo: 3, absentEpochs: 0, results: new Map([[4, { ok: true, value: 1 }]]) }],
      ]),
      snapshot: payload,
    }),
  ]
}

function randomBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.integer(120) }, () => random.integer(256))
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const mutated = bytes.slice(0, random.chance(0.3) ? random.integer(bytes.length + 1) : bytes.length)
  for (let times = 1 + random.integer(4); times > 0 && mutated.length > 0; times--) {
    mutated[random.integer(mutated.length)] = random.integer(256)
  }
  return mutated
}

/**
 * `rounds` random and as many mutated inputs for each decoder. Throws when one of them throws anything but DecodeError. `timed`
 * runs each, and may look at how long it takes.
 */
export function soakCodec(
  rounds: number,
  seed: number,
  timed: (name: string, show: () => string, decode: () => void) => void = (_name, _show, decode) => decode(),
): Readonly<Record<string, number>> {
  const random = createRandom(seed)
  const starts = samples()
  let refused = 0
  let accepted = 0
  for (const [name, decode] of Object.entries(decoders)) {
    for (let round = 0; round < rounds * 2; round++) {
      const bytes = round % 2 === 0 ? randomBytes(random) : mutate(random.pick(starts), random)
      try {
        timed(
          name,
          () => Buffer.from(bytes).toString('hex'),
          () => decode(bytes),
        )
        accepted++
      } catch (error) {
        if (!(error instanceof DecodeError)) {
          const hex = Buffer.from(bytes).toString('hex')
          throw new Error(`seed ${seed}: the decoder of ${name} threw on ${hex}`, { cause: error })
        }
        refused++
      }
    }
  }
  return { seed, refused, accepted }
}
