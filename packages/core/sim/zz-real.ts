import { walk } from './walk.ts'
try { console.log(JSON.stringify(walk({ seed: 4194, n: 7, kind: 'duels' }))) } catch (e) { console.log('REAL', String(e)) }
const t = performance.now(); let walks = 0
for (let round = 3000; performance.now() - t < 75_000; round++) for (const n of [3,5,7]) { walks++; try { walk({ seed: 1 + round, n, kind: 'duels', checkEvery: 64 }) } catch (e) { console.log('found', n, round + 1, String(e)) } }
console.log('walks', walks)
