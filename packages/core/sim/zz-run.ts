import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { mutations, mutate, sourceOf } from './mutations.ts'
for (const name of process.argv.slice(2)) {
  const m = mutations.find((x) => x.name === name); if (!m) throw new Error(name)
  const { url, text } = sourceOf(m); const copy = `/tmp/zz-${name}.mts`
  writeFileSync(copy, mutate(m, text).replace(/(from ')(\.[^']+)'/g, (_, h, to) => `${h}${new URL(to, url)}'`))
  console.log(name, execFileSync(process.execPath, ['--conditions=wepaxos:source','--import','tsx','--import', new URL('mutant-loader.mjs', import.meta.url).href, new URL('zz-plain.ts', import.meta.url).pathname], { env: { ...process.env, WEPAXOS_MUTANT: JSON.stringify({ from: url, to: pathToFileURL(copy).href }) } }).toString())
}
