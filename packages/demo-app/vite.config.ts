// How the demo is served while working on it, built, and previewed. The page finds its signaling server at /signal on its
// own host: here that path is passed on to WEPAXOS_SIGNALING_TARGET. A build for a signaling server elsewhere names its
// origin in WEPAXOS_SIGNALING_SOURCES (see content-security-policy.ts).
import { defaultClientConditions, defineConfig, type Plugin } from 'vite'
import { contentSecurityPolicy, localSignalingSources } from './content-security-policy.ts'

const signalingTarget = process.env['WEPAXOS_SIGNALING_TARGET'] ?? 'ws://127.0.0.1:8787'
const signalingSources = process.env['WEPAXOS_SIGNALING_SOURCES']?.split(/\s+/).filter(Boolean) ?? localSignalingSources

const proxy = { '/signal': { target: signalingTarget, ws: true, rewrite: () => '/' } }

/** Only in the built page: the development server injects styles and scripts of its own. */
const policyInPage: Plugin = {
  name: 'wepaxos-content-security-policy',
  apply: 'build',
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: {
        'http-equiv': 'Content-Security-Policy',
        content: contentSecurityPolicy('meta', signalingSources),
      },
      injectTo: 'head-prepend',
    },
  ],
}

export default defineConfig({
  // Relative, so that the build works under any path.
  base: './',
  resolve: { conditions: ['wepaxos:source', ...defaultClientConditions] },
  plugins: [policyInPage],
  build: { target: 'es2022', cssTarget: ['chrome123', 'firefox120', 'safari17.5'] },
  server: { host: '127.0.0.1', proxy },
  preview: {
    host: '127.0.0.1',
    proxy,
    headers: {
      'Content-Security-Policy': contentSecurityPolicy('header', signalingSources),
      'Referrer-Policy': 'no-referrer',
      'X-Content-Type-Options': 'nosniff',
    },
  },
})
