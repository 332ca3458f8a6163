// A real client of y-webrtc, in a frame of its own: y-webrtc allows one document a room in each realm.
import { WebrtcProvider } from 'y-webrtc'
import * as Y from 'yjs'

export interface YWebrtcClient {
  readonly doc: Y.Doc
  readonly provider: WebrtcProvider
}

declare global {
  var startYWebrtcClient: ((url: string, room: string, password: string | undefined) => YWebrtcClient) | undefined
}

globalThis.startYWebrtcClient = (url, room, password) => {
  const doc = new Y.Doc()
  const sealed = password === undefined ? {} : { password }
  const provider = new WebrtcProvider(room, doc, {
    signaling: [url],
    peerOpts: { config: { iceServers: [] } },
    ...sealed,
  })
  return { doc, provider }
}
dispatchEvent(new Event('y-webrtc-client'))
