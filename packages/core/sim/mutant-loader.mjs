// `--import` of a process that hunts a mutant: where a file of src is asked for, a rewritten copy of it is loaded instead.
// WEPAXOS_MUTANT says which: {"from": url, "to": url}. Plain JavaScript, for it runs before anything is compiled.
import { register } from 'node:module'

const { from, to } = JSON.parse(process.env.WEPAXOS_MUTANT ?? '{}')
if (typeof from !== 'string' || typeof to !== 'string') throw new Error('WEPAXOS_MUTANT names no file')

const hooks = `
let from, to
export function initialize(data) {
  from = data.from
  to = data.to
}
export async function resolve(specifier, context, nextResolve) {
  const resolved = await nextResolve(specifier, context)
  return resolved.url === from || resolved.url.startsWith(from + '?') ? nextResolve(to, context) : resolved
}
`
register(`data:text/javascript,${encodeURIComponent(hooks)}`, { data: { from, to } })
