// `node --import ./scripts/plain-typescript.mjs FILE`: runs TypeScript with its types taken off and nothing put in. (tsx
// wraps each named function that is made, so that it keeps its name: in a benchmark that is work of nobody's.)
import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) register(import.meta.url)

/** Only in the thread that Node runs its loader's hooks in: the compiler would fill a good part of the other one's heap. */
const stripTypes = isMainThread ? undefined : await createStripTypes()

async function createStripTypes() {
  const { default: ts } = await import('typescript')
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    inlineSourceMap: true,
  }
  return (text, fileName) => ts.transpileModule(text, { fileName, compilerOptions }).outputText
}

/** A hook of Node's module loader. */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
  const fileName = fileURLToPath(url)
  const source = stripTypes(await readFile(fileName, 'utf8'), fileName)
  return { format: 'module', source, shortCircuit: true }
}
