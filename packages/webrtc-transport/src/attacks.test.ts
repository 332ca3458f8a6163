// A few rounds of what `soakAttacks` does a thousand times.
import { expect, it } from 'vitest'
import { soakAttacks } from '../testing/soak-attacks.ts'

it('a hostile signaling server gets no wrong connection and no byte of state, and harms only while it does so', async () => {
  const { firstSeed, ...figures } = await soakAttacks(20)
  console.info(`attacks from seed ${firstSeed}`)
  expect(figures).toMatchObject({ wrongConnections: 0, stateBytesOut: 0, reconnected: 20 })
  const idle = Object.entries(figures).filter(([name, count]) => count === 0 && !/^(wrong|state)/.test(name))
  expect(idle).toEqual([])
})
