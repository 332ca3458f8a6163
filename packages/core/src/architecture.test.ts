// Which folder may know which, and that the protocol and the execution stay pure: no clock, no dice, no waiting.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const source = fileURLToPath(new URL('.', import.meta.url))

/** What the files of each folder may import besides their own folder: folders, or single files (without ".ts"). */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  protocol: ['lib'],
  execution: ['lib', 'protocol', 'codec/bytes', 'codec/parts', 'codec/value'],
  codec: ['lib', 'protocol'],
  storage: ['lib', 'protocol', 'codec'],
  // the port, and no adapter
  runtime: ['lib', 'protocol', 'execution', 'codec', 'storage/storage'],
  'state-machines': ['lib', 'execution', 'codec/value'],
}

const pure = ['protocol', 'execution']
const impure =
  /\b(?:Date|performance|Math\.random|setTimeout|setInterval|queueMicrotask|console|async|await|crypto|fetch|process)\b/g

/** Files that ship: no tests, and not what only tests import. */
const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts') && !/(?:test|\/fixtures)\.ts$/.test(path))
  .sort()

function read(path: string): string {
  return readFileSync(join(source, path), 'utf8')
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, specifier = '']) => specifier)
}

/** The imports of ours that the table does not allow the file, as paths from `src`. */
function forbiddenImports(path: string, text: string): string[] {
  const folder = path.split('/')[0] ?? ''
  return importsOf(text)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => normalize(join(dirname(path), specifier)).replaceAll('\\', '/'))
    .filter((target) => {
      if (target.startsWith('../') || /(?:test|\/fixtures)\.ts$/.test(target)) return true
      if (!path.includes('/')) return false // index.ts names what ships
      const allowed = mayImport[folder] ?? []
      return ![folder, ...allowed].some((one) => target === `${one}.ts` || target.startsWith(`${one}/`))
    })
}

/** The text without comments and the insides of plain strings. */
function codeOf(text: string): string {
  return text.replace(/('(?:\\.|[^'\\\n])*')|\/\/.*|\/\*[\s\S]*?\*\//g, (_, string) =>
    string === undefined ? ' ' : "''",
  )
}

function impurities(text: string): string[] {
  return codeOf(text).match(impure) ?? []
}

describe('imports', () => {
  test('every folder of the sources is in the table', () => {
    const folders = new Set(files.filter((path) => path.includes('/')).map((path) => path.split('/')[0]))
    expect([...folders].sort()).toEqual(Object.keys(mayImport).sort())
  })

  test('no file imports what the table does not allow its folder, nor tests, nor anything outside the sources', () => {
    const found = files.flatMap((path) => forbiddenImports(path, read(path)).map((target) => `${path} → ${target}`))
    expect(found).toEqual([])
  })

  test('the protocol and the execution import no package, and nothing imports the packages of this workspace', () => {
    const packages = files.flatMap((path) => {
      const names = importsOf(read(path)).filter((specifier) => !specifier.startsWith('.'))
      return names.filter(
        (name) => pure.some((folder) => path.startsWith(`${folder}/`)) || name.startsWith('@wepaxos/'),
      )
    })
    expect(packages).toEqual([])
  })

  test.each([
    ['lib/a.ts', "import { a } from '../protocol/ids.ts'", ['protocol/ids.ts']],
    ['protocol/a.ts', "import type { A } from '../execution/store.ts'", ['execution/store.ts']],
    ['execution/a.ts', "import {\n  a,\n} from '../codec/message.ts'", ['codec/message.ts']],
    ['execution/a.ts', "import { a } from '../codec/value.ts'", []],
    ['runtime/a.ts', "export { a } from '../storage/indexeddb.ts'", ['storage/indexeddb.ts']],
    ['runtime/a.ts', "const a = await import('../storage/memory.ts')", ['storage/memory.ts']],
    ['runtime/a.ts', "import '../storage/storage.ts'", []],
    ['storage/a.ts', "import { a } from '../../testing/index.ts'", ['../testing/index.ts']],
    ['index.ts', "export { a } from '../sim/world.ts'", ['../sim/world.ts']],
    ['protocol/a.ts', "import { a } from './fixtures.ts'", ['protocol/fixtures.ts']],
    ['protocol/a.ts', "import { a } from './quorum.ts'", []],
  ])('the search sees in %s: %s', (path, text, targets) => {
    expect(forbiddenImports(path, text)).toEqual(targets)
  })
})

describe('purity', () => {
  test.each(pure)('nothing in %s reads a clock, throws dice, waits or prints', (folder) => {
    const inside = files.filter((path) => path.startsWith(`${folder}/`))
    expect(inside.length).toBeGreaterThan(3)
    expect(inside.flatMap((path) => impurities(read(path)).map((word) => `${path}: ${word}`))).toEqual([])
  })

  test.each([
    ['const now = Date.now()', ['Date']],
    ['return performance.now() + Math.random()', ['performance', 'Math.random']],
    ['async () => await setTimeout(run, 1)', ['async', 'await', 'setTimeout']],
    ['console.log(crypto)', ['console', 'crypto']],
    ["// a Date in a comment\nconst word = 'await' /* console */", []],
    ["const url = 'http://x' + Date()", ['Date']],
  ])('the search sees in %s', (text, words) => {
    expect(impurities(text)).toEqual(words)
  })
})
