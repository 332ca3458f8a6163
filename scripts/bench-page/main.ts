// A page with a replica and nothing to see, so that a benchmark measures wepaxos and no drawing. `?storage=memory` keeps the
// log in memory.
import { kv, memoryStorage, openReplica } from '@wepaxos/core'
import { indexedDbStorage } from '@wepaxos/core/indexeddb'
import { joinRoom } from '@wepaxos/webrtc-transport'

const signaling = new URL('/signal', location.href.replace(/^http/, 'ws')).href
const room = await joinRoom({ signaling, ...(location.hash === '' ? {} : { invite: location.hash }) })
const inMemory = new URLSearchParams(location.search).get('storage') === 'memory'
const replica = await openReplica({
  partition: 'bench',
  transport: room,
  storage: inMemory ? memoryStorage() : indexedDbStorage(),
  machine: kv(),
})
if (room.founded) history.replaceState(null, '', room.invite)
Object.assign(window, { wepaxos: { replica, room } })
