// Two real clients of y-webrtc, from npm, on the path that speaks their wire: a Yjs document goes from one to the other over
// the data channel that the server helped to open.
import { expect, onTestFinished, test } from 'vitest'
import { startSignalingServer } from '../../packages/webrtc-transport/testing/signaling-servers.ts'
import type { YWebrtcClient } from '../testing/y-webrtc-client.ts'

/** In a frame, and deaf to the other frames: y-webrtc would else sync over a BroadcastChannel, without any server. */
async function startClient(url: string, room: string, password?: string): Promise<YWebrtcClient> {
  const frame = document.createElement('iframe')
  document.body.append(frame)
  const realm = frame.contentWindow
  if (realm === null) throw new Error('the frame has no window')
  Object.assign(realm, {
    BroadcastChannel: class extends EventTarget {
      postMessage(): void {}
      close(): void {}
    },
  })
  const script = realm.document.createElement('script')
  script.type = 'module'
  script.src = new URL('../testing/y-webrtc-client.ts', import.meta.url).href
  const loaded = new Promise<void>((resolve, reject) => {
    realm.addEventListener('y-webrtc-client', () => resolve())
    script.addEventListener('error', () => reject(new Error('the client of y-webrtc did not load')))
  })
  realm.document.head.append(script)
  await loaded
  const start = (realm as Window & Pick<typeof globalThis, 'startYWebrtcClient'>).startYWebrtcClient
  if (start === undefined) throw new Error('the frame has no client of y-webrtc')
  const client = start(url, room, password)
  onTestFinished(() => {
    client.provider.destroy()
    frame.remove()
  })
  return client
}

/** Resolves when the document says so. */
function says({ doc }: YWebrtcClient, text: string): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (doc.getText('notes').toString() === text) resolve()
    }
    doc.on('update', look)
    look()
  })
}

test.each([
  ['in the open', undefined],
  ['sealed with a password', 'a password'],
])('two clients of y-webrtc sync a document in both directions, %s', async (_, password) => {
  const server = await startSignalingServer()
  const room = `notes-${crypto.randomUUID()}`
  const ada = await startClient(`${server.url}y`, room, password)
  ada.doc.getText('notes').insert(0, 'written before')
  const bob = await startClient(`${server.url}y`, room, password)
  await says(bob, 'written before')
  bob.doc.getText('notes').insert(0, 'answered, ')
  await says(ada, 'answered, written before')
  // Over WebRTC, and nothing else.
  expect(ada.provider.room?.webrtcConns.size).toBe(1)
  expect(ada.provider.room?.bcConns.size).toBe(0)
  // The server is not needed any more.
  await server.stop()
  ada.doc.getText('notes').insert(0, 'alone: ')
  await says(bob, 'alone: answered, written before')
})
