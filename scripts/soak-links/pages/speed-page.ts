// A page that measures links of each kind with nothing upon them, both ends here: how soon they are open, how long a short
// message takes there and back, and how fast long ones go one way.
import { type CreatePeerLink, createBroadcastLink, loadSimplePeerLinks, rtcLinks } from '@wepaxos/webrtc-transport'
import type { LinkSpeed, SpeedLinkKind } from '../link-kinds.ts'
import { LinkPair } from './link-pair.ts'

declare global {
  interface Window {
    /** One connection of that kind: so many round trips of `bytes` bytes, then so many frames of 16 KiB one way. */
    linkSpeed?: (kind: SpeedLinkKind, roundTrips: number, bytes: number, frames: number) => Promise<LinkSpeed>
  }
}

const frameBytes = 16 * 1_024
const kinds: Readonly<Record<SpeedLinkKind, CreatePeerLink>> = {
  'simple-peer': await loadSimplePeerLinks(),
  plain: rtcLinks(),
  broadcast: createBroadcastLink,
}

window.linkSpeed = async (kind, roundTrips, bytes, frames) => {
  let onMessage: (index: 0 | 1, bytes: Uint8Array) => void = () => undefined
  let onDrain = () => {}
  const began = performance.now()
  const pair = new LinkPair(
    kinds[kind],
    (index, message) => onMessage(index, message),
    () => onDrain(),
  )
  const [near, far] = pair.ends
  await pair.open()
  const connectMs = performance.now() - began

  const roundTripsMs: number[] = []
  for (let count = 0; count < roundTrips; count += 1) {
    const before = performance.now()
    await new Promise<void>((resolve) => {
      onMessage = (index, message) => {
        if (index === 1) far.send(Uint8Array.from(message))
        else resolve()
      }
      near.send(new Uint8Array(bytes))
    })
    roundTripsMs.push(performance.now() - before)
  }

  let taken = 0
  const streamBegan = performance.now()
  await new Promise<void>((resolve) => {
    let sent = 0
    const fill = () => {
      while (sent < frames && near.writable) {
        sent += 1
        near.send(new Uint8Array(frameBytes))
      }
    }
    onDrain = fill
    onMessage = () => {
      taken += 1
      if (taken === frames) resolve()
    }
    fill()
  })
  const bytesPerSecond = (taken * frameBytes * 1_000) / (performance.now() - streamBegan)
  await pair.close(0)
  return { connectMs, roundTripsMs, bytesPerSecond }
}
