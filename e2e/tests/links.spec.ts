// Small rounds of `npm run soak -- signaling-kills`, `reconnect`, `join` and `leaks`: what links go through in real browsers.
// How long it takes is judged by the soaks, on a machine with nothing else to do.
import { soakJoin } from '../../scripts/soak-links/join.ts'
import { soakLeaks } from '../../scripts/soak-links/leaks.ts'
import { soakReconnect } from '../../scripts/soak-links/reconnect.ts'
import { soakSignalingKills } from '../../scripts/soak-links/signaling-kills.ts'
import { expect, test } from '../support/test.ts'

test.beforeEach(() => test.setTimeout(300_000))

test('the signaling server is killed under a room: no data channel drops, commands go on, and a newcomer waits at the door', async () => {
  const figures = await soakSignalingKills(1, { joinWithinMs: 60_000 })
  expect(figures).toMatchObject({ kills: 1, channelsDropped: 0, joined: 1, commandsMeanwhile: 3 })
})

test('commands flow again after a reload, a signaling restart and a cut in one direction', async () => {
  const figures = await soakReconnect(1, ['reload', 'signalingRestart', 'oneWayCut'])
  expect(figures['cases']).toBe(3)
})

test('newcomers open an invite and write', async () => {
  const figures = await soakJoin(2)
  expect(figures['joined']).toBe(2)
})

test('links that were closed leave nothing in the page', async () => {
  const figures = await soakLeaks(20)
  expect(figures).toMatchObject({ simplePeerLinks: 20, simplePeerLeft: 0, plainLinks: 20, plainLeft: 0 })
})
