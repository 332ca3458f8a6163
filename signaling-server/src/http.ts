// The few HTTP answers: health, readiness and metrics. Nothing of a request but its method and path is read.
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface HttpSources {
  isReady(): boolean
  metricsText(): string
}

/** Answers /healthz, /readyz and /metrics. False, and nothing done, for any other path. */
export function handleRequest(request: IncomingMessage, response: ServerResponse, sources: HttpSources): boolean {
  const path = pathOf(request)
  if (path !== '/healthz' && path !== '/readyz' && path !== '/metrics') return false
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    answer(response, 405, 'only GET and HEAD\n', { allow: 'GET, HEAD' })
  } else if (path === '/healthz') {
    answer(response, 200, 'ok\n')
  } else if (path === '/metrics') {
    answer(response, 200, sources.metricsText(), { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
  } else if (sources.isReady()) {
    answer(response, 200, 'ready\n')
  } else {
    answer(response, 503, 'not ready\n')
  }
  return true
}

export function answer(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}

export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/'
}
