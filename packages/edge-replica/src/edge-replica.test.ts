// The command as a process of its own, in a real room: signaling, WebRTC, a disk, signals.
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatInvite, parseInvite, readerInvite } from '@wepaxos/webrtc-transport'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { EdgeProgram } from '../testing/edge-program.ts'
import { type FoundedRoom, foundRoom, voters } from '../testing/founder.ts'

const partition = 'shared'
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wepaxos-edge-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function founded(): Promise<FoundedRoom> {
  const room = await foundRoom(partition)
  onTestFinished(() => room.close())
  return room
}

/** One whose state is under `name`. */
function startEdge({ signaling, room }: FoundedRoom, name: string, ...flags: readonly string[]): EdgeProgram {
  const own = ['--signaling', signaling, '--data', join(folder, name), '--http', '127.0.0.1:0', ...flags]
  const env = { WEPAXOS_EDGE_INVITE: `https://app.example/${room.invite}`, WEPAXOS_EDGE_PARTITION: partition }
  const edge = new EdgeProgram(own, env)
  onTestFinished(async () => {
    await edge.stop('SIGKILL')
  })
  return edge
}

function isReady({ event, status }: { readonly event: string; readonly status?: unknown }): boolean {
  return event === 'status' && status === 'ready'
}

describe('edge replicas', () => {
  it('become voters, answer commands, end with 0 on SIGTERM, and come back from a SIGKILL as who they were', async () => {
    const room = await founded()
    const { founder } = room
    const one = startEdge(room, 'one')
    const two = startEdge(room, 'two', '--log-level', 'debug')
    await voters(room, 3)
    expect(await founder.mutate.increment('count').done).toEqual({ ok: true, value: 1 })
    await Promise.all([one.record(isReady), two.record(isReady)])
    expect(await one.ask('/readyz')).toEqual({ status: 200, text: '{"ready":true,"why":[]}\n' })
    const metrics = (await two.ask('/metrics')).text
    expect(metrics).toContain(`wepaxos_edge_voters{partition="${partition}"} 3\n`)
    expect(metrics).toContain(`wepaxos_edge_votes{partition="${partition}"} 1\n`)

    const before = await one.partition()
    const killing = one.stop('SIGKILL')
    // One of three is gone in the middle of these: the others answer them.
    const counts = await Promise.all(Array.from({ length: 20 }, () => founder.mutate.increment('count').done))
    expect(counts.map(({ value }) => value)).toEqual(Array.from({ length: 20 }, (_, index) => index + 2))
    expect(await killing).toMatchObject({ code: null, signal: 'SIGKILL' })

    const again = startEdge(room, 'one')
    await again.record(isReady)
    await founder.mutate.set('after', 'the kill').done
    await vi.waitFor(async () => expect((await again.partition())?.stats.executed).toBe(22), { timeout: 60_000 })
    const after = await again.partition()
    expect(after?.replica).toBe(before?.replica)
    expect(after?.stats.stateHash).toBe(founder.stats().stateHash)
    expect(founder.stats().voters).toBe(3)

    for (const edge of [again, two]) {
      const exit = await edge.stop('SIGTERM')
      expect(exit).toMatchObject({ code: 0, signal: null })
      // The limit of --shutdown-ms, which would have ended it with another code.
      expect(exit.afterMs).toBeLessThan(10_000)
      expect(edge.records.slice(-1)).toMatchObject([{ event: 'stopped' }])
    }
    const secret = room.room.invite.slice(6)
    for (const text of [one.out, two.out, again.out, metrics, one.err, two.err, again.err]) {
      expect(text).not.toContain(secret)
    }
    expect([one.err, two.err, again.err]).toEqual(['', '', ''])
  })

  it('keep the vote beside a single page, and the room alive when that page goes', async () => {
    const room = await founded()
    const edge = startEdge(room, 'steady')
    await edge.record(isReady)
    await vi.waitFor(
      async () => {
        const { text } = await edge.ask('/metrics')
        expect(text).toContain(`wepaxos_edge_voters{partition="${partition}"} 1\n`)
        expect(text).toContain(`wepaxos_edge_votes{partition="${partition}"} 1\n`)
      },
      { timeout: 60_000, interval: 100 },
    )
    expect(await room.founder.mutate.increment('count').done).toEqual({ ok: true, value: 1 })
    await room.founder.close()
    await edge.record(({ event, connected, role }) => event === 'members' && connected === 0 && role === 'voter')
    expect((await edge.ask('/readyz')).status).toBe(200)
    expect(await edge.stop('SIGTERM')).toMatchObject({ code: 0 })
  })

  it('whose folder was restored from a backup retire, and join anew under another id with the state of now', async () => {
    const room = await founded()
    const { founder } = room
    const edge = startEdge(room, 'restored')
    const other = startEdge(room, 'beside')
    await voters(room, 3)
    await founder.mutate.set('before', 'the backup').done
    await edge.record(isReady)
    const first = await edge.partition()
    await edge.stop('SIGTERM')
    await cp(join(folder, 'restored'), join(folder, 'backup'), { recursive: true })

    const meanwhile = startEdge(room, 'restored')
    await meanwhile.record(isReady)
    for (let count = 0; count < 10; count += 1) await founder.mutate.increment('after the backup').done
    await vi.waitFor(async () => expect((await meanwhile.partition())?.stats.executed).toBe(11), { timeout: 60_000 })
    await meanwhile.stop('SIGTERM')
    await rm(join(folder, 'restored'), { recursive: true })
    await cp(join(folder, 'backup'), join(folder, 'restored'), { recursive: true })

    const restored = startEdge(room, 'restored')
    await restored.record(({ event, says }) => event === 'status' && String(says).includes('beginning anew'))
    await vi.waitFor(
      async () => {
        const { replica, status, stats } = (await restored.partition()) ?? {}
        expect(status).toBe('ready')
        expect(replica).not.toBe(first?.replica)
        expect(stats?.stateHash).toBe(founder.stats().stateHash)
      },
      { timeout: 60_000, interval: 100 },
    )
    expect(await founder.mutate.increment('after the backup').done).toEqual({ ok: true, value: 11 })
    for (const one of [restored, other]) expect(await one.stop('SIGTERM')).toMatchObject({ code: 0 })
  })

  it('are not ready while they are alone, and say why', async () => {
    const room = await founded()
    const [edge, other] = [startEdge(room, 'lonely'), startEdge(room, 'lonely-two')]
    await voters(room, 3)
    await edge.record(isReady)
    await other.stop('SIGKILL')
    await room.founder.close()
    await vi.waitFor(
      async () => {
        const { status, text } = await edge.ask('/readyz')
        const why = [`${partition}: 1 of 3 voters can be reached, 2 are needed`]
        expect([status, JSON.parse(text)]).toEqual([503, { ready: false, why }])
      },
      { timeout: 60_000, interval: 200 },
    )
    expect((await edge.ask('/healthz')).status).toBe(200)
    expect(await edge.stop('SIGINT')).toMatchObject({ code: 0 })
  })

  it('end with a code of its own when the members take them out', async () => {
    const room = await founded()
    const edge = startEdge(room, 'removed')
    startEdge(room, 'kept')
    await voters(room, 3)
    const ready = await edge.record(isReady)
    await room.founder.setRole(String(ready['replica']), 'none')
    expect(await edge.exited).toMatchObject({ code: 3 })
    expect(edge.records.some(({ event }) => event === 'removed')).toBe(true)
  })

  it('end with 1 and the reason when the replica stops, here because its machine throws', async () => {
    const room = await founded()
    const machine = join(folder, 'throwing-machine.mjs')
    const command = "set: () => { throw new Error('broken') }"
    await writeFile(
      machine,
      `export default { name: 'kv', version: 1, commands: { ${command} }, queries: {}, footprint: { set: () => [] } }\n`,
    )
    const edge = startEdge(room, 'throws', '--machine', machine)
    await edge.record(isReady)
    // Nobody may be left who can answer it.
    room.founder.mutate.set('key', 'value').done.catch(() => undefined)
    expect(await edge.exited).toMatchObject({ code: 1 })
    const failed = edge.records.find(({ event }) => event === 'failed')
    expect(failed).toMatchObject({ partition, error: { code: 'MachineFailed', cause: { message: 'broken' } } })
  })

  it("follow with a reader's link, and do not vote", async () => {
    const room = await founded()
    const reader = formatInvite(await readerInvite(parseInvite(room.room.invite)))
    const edge = startEdge(room, 'reader', '--role', 'observer', '--invite', reader)
    await edge.record(({ status }) => status === 'read-only')
    expect((await edge.ask('/readyz')).status).toBe(200)
    await room.founder.mutate.set('key', 'value').done
    await vi.waitFor(async () => {
      const { text } = await edge.ask('/metrics')
      expect(text).toContain(`wepaxos_edge_executed_total{partition="${partition}"} 1\n`)
      expect(text).toContain(`wepaxos_edge_votes{partition="${partition}"} 0\n`)
    })
    expect(await edge.stop('SIGTERM')).toMatchObject({ code: 0 })
  })

  it('end at once on a second signal', async () => {
    const room = await founded()
    const edge = startEdge(room, 'twice')
    await edge.record(isReady)
    // It sleeps until both are there, so that the second finds it in the midst of its clean end.
    void edge.stop('SIGSTOP')
    void edge.stop('SIGTERM')
    void edge.stop('SIGINT')
    const { code } = await edge.stop('SIGCONT')
    expect([130, 143]).toContain(code)
    expect(edge.records.some(({ event }) => event === 'stopping')).toBe(true)
    expect(edge.records.some(({ event }) => event === 'stopped')).toBe(false)
  })
})
