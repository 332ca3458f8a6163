// `npm run soak -- NAME [--rounds N]`: the long checks, each by its name. Each ends with one JSON line of its figures
// (`{"check": …, "rounds": …, "failures": 0, …}`) and exits non-zero when it failed.
import { parseArgs } from 'node:util'

type Figures = Readonly<Record<string, number>>

interface Check {
  readonly says: string
  readonly roundsDefault: number
  /** Throws at the first failure; returns figures. Brings its own code only when it is run. */
  run(rounds: number): Promise<Figures>
}

const fresh = () => Math.floor(Math.random() * 1e9)

const checks: Readonly<Record<string, Check>> = {
  sim: {
    says: 'simulated clusters of 3, 5 and 7 replicas, one fresh seed a round',
    roundsDefault: 500,
    async run(rounds) {
      const { addFigures, noFigures } = await import('../packages/core/sim/report.ts')
      const { simulate } = await import('../packages/core/sim/simulate.ts')
      const first = fresh()
      const totals = noFigures()
      for (let round = 0; round < rounds; round++) {
        const replicas = [3, 5, 7][round % 3] ?? 3
        const { figures } = await simulate({ seed: first + round, steps: 400, replicas })
        addFigures(totals, figures)
      }
      return { firstSeed: first, ...totals }
    },
  },
  kills: {
    says: 'three browsers under load: renderers and whole browsers are killed, so many of each',
    roundsDefault: 50,
    run: async (rounds) => (await import('./soak/kills.ts')).soakKills(rounds),
  },
  'power-cut': {
    says: 'what a power cut leaves of an IndexedDB log, strict and relaxed',
    roundsDefault: 1_000,
    run: async (rounds) => (await import('./soak/power-cut.ts')).soakPowerCut(rounds),
  },
  quota: {
    says: 'the quota of one of three browsers runs out in the middle of the work, and comes back',
    roundsDefault: 10,
    run: async (rounds) => (await import('./soak/quota.ts')).soakQuota(rounds),
  },
  rollback: {
    says: 'disks that come back older, damaged or empty, one fresh seed a round',
    roundsDefault: 1_000,
    run: async (rounds) => (await import('./soak/rollback.ts')).soakRollback(rounds),
  },
  orphans: {
    says: 'three tabs of one browser are a room, and two of them are killed: the third goes on by itself',
    roundsDefault: 20,
    run: async (rounds) => (await import('./soak/orphans.ts')).soakOrphans(rounds),
  },
  'take-over': {
    says: 'one log, and owners of it that die, freeze, are stopped or are lost in thought while they write',
    roundsDefault: 200,
    run: async (rounds) => (await import('./soak/take-over.ts')).soakTakeOver(rounds),
  },
  edge: {
    says: 'an edge replica and two browsers: both browsers die, then the edge replica again and again',
    roundsDefault: 20,
    run: async (rounds) => (await import('./soak/edge.ts')).soakEdge(rounds),
  },
  attacks: {
    says: 'a hostile signaling server against rooms, one way of attack a round',
    roundsDefault: 1_000,
    run: async (rounds) => (await import('../packages/webrtc-transport/testing/soak-attacks.ts')).soakAttacks(rounds),
  },
  fuzz: {
    says: 'random and mutated bytes for each decoder of core, links and signaling: refused, in no time, and nothing stays of them',
    roundsDefault: 200_000,
    async run(rounds) {
      const { soakCodec } = await import('../packages/core/sim/soak-codec.ts')
      const { soakSignalingDecoders } = await import('./soak-signaling/decoders.ts')
      const { soakLinkDecoders } = await import('./soak-links/decoders.ts')
      const { FuzzWatch } = await import('./fuzz.ts')
      const watch = new FuzzWatch()
      const core = soakCodec(rounds, fresh(), (name, show, decode) => watch.time(name, show, decode))
      return {
        ...core,
        ...watch.end('core'),
        ...(await soakSignalingDecoders(rounds)),
        ...(await soakLinkDecoders(rounds)),
      }
    },
  },
  'signaling-load': {
    says: 'a signaling server under 5,000 sockets, slow ones, floods and garbage (one round is all of it)',
    roundsDefault: 1,
    async run(rounds) {
      const { soakSignalingLoad } = await import('./soak-signaling/load.ts')
      let figures: Figures = {}
      for (let round = 0; round < rounds; round++) figures = await soakSignalingLoad()
      return figures
    },
  },
  'signaling-kills': {
    says: 'kill -9 for the signaling server under a room of three: no channel drops, and newcomers are in after its return',
    roundsDefault: 20,
    run: async (rounds) => (await import('./soak-links/signaling-kills.ts')).soakSignalingKills(rounds),
  },
  reconnect: {
    says: 'reload, sleep, signaling restart, one-way cut, half of all frames lost: how long until commands flow again',
    roundsDefault: 5,
    run: async (rounds) => (await import('./soak-links/reconnect.ts')).soakReconnect(rounds),
  },
  join: {
    says: 'newcomers to a room of two: from the opened invite to the first committed write',
    roundsDefault: 30,
    run: async (rounds) => (await import('./soak-links/join.ts')).soakJoin(rounds),
  },
  leaks: {
    says: 'connects and closes of both kinds of link in one page: connections, timers, listeners and heap afterwards',
    roundsDefault: 1_000,
    run: async (rounds) => (await import('./soak-links/leaks.ts')).soakLeaks(rounds),
  },
  redis: {
    says: 'signaling servers over one Redis: peers of different processes meet, those of a killed one go',
    roundsDefault: 5,
    run: async (rounds) => (await import('./soak-signaling/redis.ts')).soakRedis(rounds),
  },
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string' } } })
const [name] = positionals
const check = name !== undefined && Object.hasOwn(checks, name) ? checks[name] : undefined
if (check === undefined) {
  console.error('npm run soak -- NAME [--rounds N]')
  for (const [known, { says, roundsDefault }] of Object.entries(checks)) {
    console.error(`  ${known.padEnd(16)} ${says} (${roundsDefault} rounds)`)
  }
  process.exit(2)
}
const rounds = values.rounds === undefined ? check.roundsDefault : Number(values.rounds)
if (!Number.isSafeInteger(rounds) || rounds < 1) {
  console.error(`--rounds: a whole number from 1 on, not ${values.rounds}`)
  process.exit(2)
}

const startedAt = performance.now()
let failures = 0
let figures: Readonly<Record<string, number>> = {}
try {
  figures = await check.run(rounds)
} catch (error) {
  failures = 1
  console.error(error)
}
const seconds = Math.round((performance.now() - startedAt) / 100) / 10
console.log(JSON.stringify({ check: name, rounds, failures, seconds, ...figures }))
process.exitCode = failures === 0 ? 0 : 1
