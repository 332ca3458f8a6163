import { walk } from './walk.ts'
const t = performance.now(); let walks = 0
for (let round = 0; performance.now() - t < 40_000; round++) for (const n of [3,5,7]) { walks++; try { walk({ seed: 1 + round, n, kind: round % 2 === 0 ? 'broad' : 'duels', checkEvery: Number.POSITIVE_INFINITY, }) } catch (e) { const m = String(e); if (m.includes('Assertion')) continue; console.log('found', n, round, m); process.exit(0) } }
console.log('not found', walks)
