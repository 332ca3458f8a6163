// The memory network under the transport contract.
import { expect, it } from 'vitest'
import { replicaId } from '../src/protocol/ids.ts'
import { createMemoryNetwork } from './memory-transport.ts'
import { describeTransportContract } from './transport-contract.ts'

const pages = ['first', 'second', 'third'] as const

describeTransportContract('the memory network', async () => {
  const network = createMemoryNetwork()
  const page = (index: number) => pages[index] ?? 'none'
  return {
    transports: [network.transport('first'), network.transport('second'), network.transport('third')],
    cut: (left, right) => network.cut(page(left), page(right)),
    heal: (left, right) => network.heal(page(left), page(right)),
    async until(condition, what) {
      for (let turn = 0; turn < 10_000; turn += 1) {
        if (condition()) return
        await Promise.resolve()
      }
      throw new Error(`it did not come true that ${what}`)
    },
    close: async () => undefined,
  }
})

it('the memory network delivers nothing before the scheduler that it was given runs it, and then in order', () => {
  const due: (() => void)[] = []
  const network = createMemoryNetwork({ schedule: (deliver) => due.push(deliver) })
  const runAll = () => {
    for (let deliver = due.shift(); deliver !== undefined; deliver = due.shift()) deliver()
  }
  const heard: string[] = []
  const endpoint = (digit: string) => ({
    partition: 'main',
    replica: replicaId(digit.repeat(32)),
    onConnected: () => heard.push(`${digit} connected`),
    onDisconnected: () => heard.push(`${digit} disconnected`),
    onFrame: (_from: unknown, frame: Uint8Array) => heard.push(`${digit} got ${frame[0]}`),
  })
  const channel = network.transport('first').attach(endpoint('a'))
  network.transport('second').attach(endpoint('b'))
  expect(heard).toEqual([])
  runAll()
  channel.send(replicaId('b'.repeat(32)), Uint8Array.of(1))
  channel.send(replicaId('b'.repeat(32)), Uint8Array.of(2))
  expect(heard).toEqual(['a connected', 'b connected'])
  runAll()
  expect(heard.slice(2)).toEqual(['b got 1', 'b got 2'])
})
