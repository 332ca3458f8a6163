// Builds what is published (dist of each package) and the demo, in the order in which they need each other.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './setup.mjs'

const steps = [
  ['node_modules/typescript/bin/tsc', '-p', 'packages/core/tsconfig.build.json'],
  ['node_modules/typescript/bin/tsc', '-p', 'signaling-server/tsconfig.build.json'],
  ['node_modules/typescript/bin/tsc', '-p', 'packages/webrtc-transport/tsconfig.build.json'],
  ['node_modules/typescript/bin/tsc', '-p', 'packages/edge-replica/tsconfig.build.json'],
  ['node_modules/vite/bin/vite.js', 'build', 'packages/demo-app'],
]
for (const [script, ...args] of steps) {
  const done = spawnSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' })
  if (done.status !== 0) process.exit(done.status ?? 1)
}
