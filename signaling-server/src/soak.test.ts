// Small rounds of the long checks (`npm run soak -- signaling-load`, `redis`, `fuzz`): that they pass, and that they can fail.
import { describe, expect, it } from 'vitest'
import { soakSignalingDecoders } from '../../scripts/soak-signaling/decoders.ts'
import { fullLoad, type LoadSize, soakSignalingLoad } from '../../scripts/soak-signaling/load.ts'
import { soakRedis } from '../../scripts/soak-signaling/redis.ts'
import { findRedisServer } from '../testing/redis-server.ts'

const small: LoadSize = {
  ...fullLoad,
  sockets: 64,
  relayMs: 500,
  slowLoris: 20,
  silent: 20,
  pings: 20_000,
  garbageFrames: 500,
  timeoutMs: 500,
  messagesPerSecond: 1_000,
  messagesBurst: 1_000,
}

describe('signaling-load', () => {
  it('bears a small load, and guests of the worse kind cost the others nothing', async () => {
    const figures = await soakSignalingLoad(small, { growthMibMax: 20 })
    expect(figures['relayedPerSecond']).toBeGreaterThan(0)
    expect(figures['slowLorisGoneMs']).toBeGreaterThan(400)
    expect(figures['silentGoneMs']).toBeGreaterThan(400)
    expect(figures['garbageFrames']).toBe(500)
  })

  it('fails when a gate is not reached, and says which', async () => {
    const tiny = { ...small, relayMs: 100, slowLoris: 2, silent: 2, garbageFrames: 10 }
    await expect(soakSignalingLoad(tiny, { relayedPerSecondMin: 1e9 })).rejects.toThrow('relayedPerSecond is')
  })
})

describe.skipIf(findRedisServer() === undefined)('redis (skipped without a redis-server on the path)', () => {
  it('lets peers of two processes meet, and those of a killed one vanish and come back', async () => {
    const figures = await soakRedis(1, 3)
    expect(figures).toMatchObject({ kills: 1, pairs: 3 })
    expect(figures['vanishMsMedian']).toBeGreaterThan(0)
  })
})

describe('the decoders', () => {
  it('refuse random and mutated texts without a throw, and stand by what they accept', async () => {
    const figures = await soakSignalingDecoders(2_000)
    expect(figures['texts']).toBe(12_000)
    // Some mutations change nothing that matters: the round is not one of refusals only.
    expect(figures['accepted']).toBeGreaterThan(100)
  })
})
