// What a replica is when it can not be opened as it should, and what closing it does then.
import { describe, expect, it } from 'vitest'
import { defineMachine } from '../src/execution/define-machine.ts'
import type { CommandResult, WriteTransaction } from '../src/execution/machine.ts'
import type { Transport } from '../src/runtime/transport.ts'
import type { StorageProvider } from '../src/storage/storage.ts'
import { FaultyDisk } from '../testing/faulty-disk.ts'
import { FaultyPage } from '../testing/faulty-page.ts'
import { Stage } from './stage.ts'

/** A state machine that works until it is told not to. */
function fragileMachine() {
  let broken = false
  const machine = defineMachine({
    name: 'fragile',
    version: 1,
    commands: {
      put(_tx: WriteTransaction, key: string): CommandResult {
        if (broken) throw new Error('the machine broke')
        return { ok: true, value: key }
      },
    },
    queries: {},
    footprint: { put: (key: string) => [{ key, mode: 'write' }] },
  })
  return {
    machine,
    break: () => {
      broken = true
    },
  }
}

/** Counts what is attached. */
function counted(inner: Transport): { readonly transport: Transport; attached(): number } {
  let count = 0
  const attach: Transport['attach'] = (endpoint) => {
    const channel = inner.attach(endpoint)
    count += 1
    return {
      ...channel,
      close: () => {
        count -= 1
        channel.close()
      },
    }
  }
  return { transport: { ...inner, attach }, attached: () => count }
}

describe('a replica that fails while it is opened', () => {
  it('is failed, and not attached: nobody is to take it for one that is around', async () => {
    const stage = new Stage()
    const { machine, break: breakIt } = fragileMachine()
    const before = await stage.openWith('a', machine)
    await stage.when(before.mutate.put('x').done)
    await stage.pass(1_000)
    stage.kill('a')
    breakIt()
    const { transport, attached } = counted(stage.network.transport('a', false))
    const replica = await stage.openWith('a', machine, { transport })
    await stage.pass(1_000)
    expect([replica.status.kind, attached()]).toEqual(['failed', 0])
  })

  it('is failed also where a command was kept for it', async () => {
    const stage = new Stage()
    const { machine, break: breakIt } = fragileMachine()
    const before = await stage.openWith('a', machine)
    await stage.when(before.mutate.put('x').done)
    const kept = before.mutate.put('y').done
    kept.catch(() => {})
    await stage.when(before.close())
    await expect(kept).rejects.toMatchObject({ code: 'OutcomeUnknown' })
    breakIt()
    const replica = await stage.openWith('a', machine)
    expect(replica.status).toMatchObject({ kind: 'failed', error: { code: 'MachineFailed' } })
  })

  it('leaves nothing attached where it was to be hosted, however often that is tried', async () => {
    const stage = new Stage()
    const { machine, break: breakIt } = fragileMachine()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const page = new FaultyPage(disk)
    const before = await stage.openWith('a', machine, { storage: page })
    await stage.when(before.mutate.put('x').done)
    await stage.pass(1_000)
    stage.kill('a')
    page.die()
    breakIt()
    // b has a disk of its own, and looks after orphans on that of a
    const own = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const watching = new FaultyPage(disk)
    const storage: StorageProvider = {
      open: (scope) => own.open(scope),
      watchOrphans: (scope, adopt) => watching.watchOrphans(scope, adopt),
    }
    const { transport, attached } = counted(stage.network.transport('b', false))
    await stage.openWith('b', machine, { transport, storage })
    await stage.pass(20_000)
    expect(attached()).toBe(1)
  })

  it('for its disk is full can be read, and says nothing to anybody', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const before = await stage.open('a', { storage: disk })
    await stage.when(before.mutate.set('k', 1).done)
    await stage.when(before.close())
    disk.fill(0)
    const { transport, attached } = counted(stage.network.transport('a', false))
    const replica = await stage.open('a', { storage: disk, transport })
    expect(replica.view.committed.get('k')).toBe(1)
    expect(replica.status).toMatchObject({ kind: 'failed', error: { code: 'StorageFailed' } })
    expect(attached()).toBe(0)
  })
})

describe('openReplica', () => {
  it('rejects with what went wrong first, also where its disk can not be closed then', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const storage: StorageProvider = {
      async open(scope) {
        const close = () => Promise.reject(new Error('not closed'))
        return Object.assign(await disk.open(scope), { read: () => Promise.reject(new Error('not read')), close })
      },
    }
    await expect(stage.open('a', { storage })).rejects.toThrow('not read')
  })

  it('that can not watch orphans leaves no replica running', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const storage: StorageProvider = {
      open: (scope) => disk.open(scope),
      watchOrphans() {
        throw new Error('not watched')
      },
    }
    const { transport, attached } = counted(stage.network.transport('a', true))
    await expect(stage.open('a', { storage, transport })).rejects.toThrow('not watched')
    expect([attached(), disk.slots.map(({ owned }) => owned)]).toEqual([0, [false]])
  })

  it('whose signal is aborted closes the replica, and says in the log where that failed', async () => {
    const stage = new Stage()
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    const storage: StorageProvider = {
      async open(scope) {
        return Object.assign(await disk.open(scope), { close: () => Promise.reject(new Error('not closed')) })
      },
    }
    const warned: unknown[] = []
    const logger = { debug() {}, warn: (_what: string, details?: unknown) => void warned.push(details) }
    const ending = new AbortController()
    const a = await stage.open('a', { storage, logger, signal: ending.signal })
    ending.abort()
    await stage.until(() => a.status.kind === 'closed' && warned.length > 0)
    expect(warned).toEqual([{ reason: 'Error: not closed' }])
  })
})

describe('close()', () => {
  it('after a leave() that could not erase the disk does not fail, too, and gives the disk up', async () => {
    const stage = new Stage()
    const a = await stage.open('a')
    const disk = new FaultyDisk({ later: (task) => stage.world.at(1, task) })
    let closed = 0
    const storage: StorageProvider = {
      async open(scope) {
        const inner = await disk.open(scope)
        const close = inner.close.bind(inner)
        return Object.assign(inner, {
          erase: () => Promise.reject(new Error('blocked')),
          close: () => {
            closed += 1
            return close()
          },
        })
      },
    }
    const b = await stage.open('b', { storage })
    await stage.until(() => b.status.kind === 'ready' && a.members.length === 2)
    await expect(stage.when(b.leave())).rejects.toThrow('blocked')
    await stage.when(b.close())
    expect(closed).toBe(1)
  })
})
