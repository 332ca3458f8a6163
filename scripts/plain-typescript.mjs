// `node --import ./scripts/plain-typescript.mjs FILE`: runs TypeScript with its types taken off and nothing put in. (tsx
// wraps each named function that is made, so that it keeps its name: in a benchmark that is work of nobody's.)
import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import ts from 'typescript'

if (isMainThread) register(import.meta.url)

const compilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  inlineSourceMap: true,
}

/** A hook of Node's module loader, in the thread that Node runs such hooks in. */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
  const fileName = fileURLToPath(url)
  const text = await readFile(fileName, 'utf8')
  const { outputText } = ts.transpileModule(text, { fileName, compilerOptions })
  return { format: 'module', source: outputText, shortCircuit: true }
}
