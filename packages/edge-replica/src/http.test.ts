import { describe, expect, it, onTestFinished } from 'vitest'
import { edgeFacts, partitionFacts, statsOf } from '../testing/facts.ts'
import type { EdgeFacts } from './health.ts'
import { startHealthServer } from './http.ts'
import { metricsText } from './metrics.ts'

async function serve(facts: () => EdgeFacts): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const server = await startHealthServer({ host: '127.0.0.1', port: 0, facts })
  onTestFinished(() => server.close())
  return (path, init) => fetch(new URL(path, server.url), init)
}

describe('the health server', () => {
  it('answers 200 to /healthz whatever the replica does', async () => {
    const get = await serve(() => edgeFacts({ phase: 'starting', partitions: [] }))
    expect((await get('/healthz')).status).toBe(200)
  })

  it('answers 200 to /readyz while all partitions are ready, else 503 with the reasons', async () => {
    let facts = edgeFacts()
    const get = await serve(() => facts)
    const good = await get('/readyz')
    expect([good.status, await good.json()]).toEqual([200, { ready: true, why: [] }])
    facts = edgeFacts({ partitions: [partitionFacts({ status: { kind: 'joining', peers: 0 } })] })
    const bad = await get('/readyz')
    expect(bad.status).toBe(503)
    expect(await bad.json()).toEqual({ ready: false, why: ['demo: joining, and nobody answers'] })
  })

  it('answers /metrics as Prometheus text of version 0.0.4', async () => {
    const get = await serve(() => edgeFacts())
    const answer = await get('/metrics?x=1')
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(await answer.text()).toBe(metricsText(edgeFacts()))
  })

  it('tells all it knows at /status, the hash of the state with it', async () => {
    const get = await serve(() => edgeFacts())
    expect(await (await get('/status')).json()).toMatchObject({
      phase: 'running',
      ready: true,
      room: null,
      partitions: [{ partition: 'demo', replica: 'a'.repeat(32), status: 'ready', stats: { stateHash: '00' } }],
    })
  })

  it('has the state hashed for /status alone: a large one is not to be hashed by each probe', async () => {
    let hashed = 0
    const stats = {
      ...statsOf(),
      get stateHash() {
        hashed += 1
        return '00'
      },
    }
    const get = await serve(() => edgeFacts({ partitions: [partitionFacts({ stats })] }))
    for (const path of ['/healthz', '/readyz', '/metrics']) await get(path)
    expect(hashed).toBe(0)
    await get('/status')
    expect(hashed).toBe(1)
  })

  it('refuses what is no question, and knows no other path', async () => {
    const get = await serve(() => edgeFacts())
    expect((await get('/healthz', { method: 'POST' })).status).toBe(405)
    expect((await get('/')).status).toBe(404)
  })

  it('answers 500, and goes on, when the replica can not be asked', async () => {
    const get = await serve(() => {
      throw new Error('erased')
    })
    expect((await get('/metrics')).status).toBe(500)
    expect((await get('/healthz')).status).toBe(200)
  })

  it('rejects when its port is taken', async () => {
    const first = await startHealthServer({ host: '127.0.0.1', port: 0, facts: () => edgeFacts() })
    onTestFinished(() => first.close())
    const port = Number(new URL(first.url).port)
    await expect(startHealthServer({ host: '127.0.0.1', port, facts: () => edgeFacts() })).rejects.toThrow('EADDRINUSE')
  })
})
