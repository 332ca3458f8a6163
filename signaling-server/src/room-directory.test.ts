// The contract of the directory, for both that there are.
import { describe, onTestFinished } from 'vitest'
import { findRedisServer, startRedis } from '../testing/redis-server.ts'
import { describeRoomDirectory } from '../testing/room-directory-contract.ts'
import { Metrics } from './metrics.ts'
import { resolveOptions } from './options.ts'
import { RedisDirectory } from './redis-directory.ts'
import { LocalDirectory } from './room-directory.ts'

describeRoomDirectory('LocalDirectory', async (limits) => new LocalDirectory(limits, () => performance.now()))

const redisBinary = findRedisServer()
describe.skipIf(redisBinary === undefined)('over Redis (skipped without a redis-server on the path)', () => {
  describeRoomDirectory('RedisDirectory', async (limits) => {
    if (redisBinary === undefined) throw new Error('skipped without a redis-server')
    const redis = await startRedis(redisBinary)
    const options = resolveOptions({ ...limits, redisUrl: redis.url })
    const directory = new RedisDirectory(options, new Metrics(), () => undefined)
    onTestFinished(async () => {
      await directory.close()
      await redis.stop()
    })
    await directory.start()
    return directory
  })
})
