// The pages of the long checks of links. There is no signaling server beside them: that one lives, and is killed, in a process
// of its own.
import { fileURLToPath } from 'node:url'
import { buildAndServe, type ServedPages } from '../build-and-serve.ts'

const root = fileURLToPath(new URL('./pages', import.meta.url))

export function serveLinkPages(): Promise<ServedPages> {
  return buildAndServe(root, ['links.html', 'leaks.html', 'speed.html'])
}
