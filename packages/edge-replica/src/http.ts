// The few HTTP answers: health, readiness, metrics, and all of it as JSON. Nothing of a request but its method and path is
// read, and nothing can be changed by one.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type EdgeFacts, readiness, report } from './health.ts'
import { metricsText } from './metrics.ts'

const plainText = 'text/plain; charset=utf-8'

export interface HealthServer {
  readonly url: string
  close(): Promise<void>
}

export interface HealthServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  facts(): EdgeFacts
}

/** Rejects when it can not listen there. */
export async function startHealthServer({ host, port, facts }: HealthServerOptions): Promise<HealthServer> {
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 10_000 }, (request, response) => {
    try {
      handle(request, response, facts)
    } catch (error) {
      // A question must not end the replica.
      answer(response, 500, plainText, `${error instanceof Error ? error.message : String(error)}\n`)
    }
  })
  await listen(server, host, port)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}/`,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function handle(request: IncomingMessage, response: ServerResponse, facts: () => EdgeFacts): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    answer(response, 405, plainText, 'only GET and HEAD\n', { allow: 'GET, HEAD' })
    return
  }
  switch ((request.url ?? '/').split('?', 1)[0]) {
    case '/healthz':
      answer(response, 200, plainText, 'ok\n')
      return
    case '/readyz': {
      const state = readiness(facts())
      answerJson(response, state.ready ? 200 : 503, state)
      return
    }
    case '/status':
      answerJson(response, 200, report(facts()))
      return
    case '/metrics':
      answer(response, 200, 'text/plain; version=0.0.4; charset=utf-8', metricsText(facts()))
      return
    default:
      answer(response, 404, plainText, 'there is /healthz, /readyz, /status and /metrics\n')
  }
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  answer(response, status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`)
}

function answer(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}
