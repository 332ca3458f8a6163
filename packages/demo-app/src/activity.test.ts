import { type CommandResult, type Handle, WepaxosError } from '@wepaxos/core'
import { expect, test } from 'vitest'
import { Activity } from './activity.ts'

/** A handle whose fate the test decides. */
function openHandle(): {
  handle: Handle<CommandResult>
  commit: () => void
  finish: (result: CommandResult) => void
  fail: (error: Error) => void
} {
  const committed = deferred<void>()
  const done = deferred<CommandResult>()
  const handle = {
    key: 'replica:1',
    local: { ok: true, value: null },
    committed: committed.promise,
    done: done.promise,
    state: 'pending',
  } as const
  return {
    handle,
    commit: committed.resolve,
    finish: done.resolve,
    fail: (error) => {
      committed.reject(error)
      done.reject(error)
    },
  }
}

test('a command is pending, then committed, then done, with the time it took', async () => {
  let time = 100
  const activity = new Activity(() => time)
  const { handle, commit, finish } = openHandle()
  const outcome = activity.follow(
    'set a = 1',
    () => handle,
    () => 'version 1',
  )
  expect(activity.entries).toMatchObject([{ title: 'set a = 1', fate: 'pending', tookMs: undefined }])
  commit()
  await handle.committed
  expect(activity.entries[0]?.fate).toBe('committed')
  time = 112
  finish({ ok: true, value: 1 })
  expect(await outcome).toEqual({ kind: 'done', result: { ok: true, value: 1 } })
  expect(activity.entries).toMatchObject([{ fate: 'done', detail: 'version 1', tookMs: 12 }])
})

test('a refusal is told as the result that it is', async () => {
  const activity = new Activity(() => 0)
  const { handle, commit, finish } = openHandle()
  const outcome = activity.follow(
    'create a',
    () => handle,
    () => 'it exists',
  )
  commit()
  finish({ ok: false, code: 'EXISTS' })
  expect(await outcome).toEqual({ kind: 'refused', result: { ok: false, code: 'EXISTS' } })
  expect(activity.entries[0]).toMatchObject({ fate: 'refused', detail: 'it exists' })
})

test('wrong arguments, which throw at once, and lost outcomes are failures with a reason', async () => {
  const activity = new Activity(() => 0)
  const refused = await activity.follow(
    'set',
    () => {
      throw new WepaxosError('InvalidArgument', 'a key is not empty')
    },
    () => '',
  )
  expect(refused).toEqual({ kind: 'failed', problem: 'a key is not empty' })
  const { handle, fail } = openHandle()
  const lost = activity.follow(
    'set a',
    () => handle,
    () => '',
  )
  fail(new WepaxosError('OutcomeUnknown', 'nobody answered'))
  expect(await lost).toMatchObject({ kind: 'failed' })
  expect(activity.entries.map((entry) => entry.fate)).toEqual(['failed', 'failed'])
})

test('only the newest fifty are kept, newest first', async () => {
  const activity = new Activity(() => 0)
  for (let index = 0; index < 60; index++)
    void activity.follow(
      `command ${index}`,
      () => openHandle().handle,
      () => '',
    )
  expect(activity.entries).toHaveLength(50)
  expect(activity.entries[0]?.title).toBe('command 59')
})

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let settle: Pick<ReturnType<typeof deferred<T>>, 'resolve' | 'reject'> | undefined
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject }
  })
  if (settle === undefined) throw new Error('a promise runs its executor at once')
  return { promise, ...settle }
}
