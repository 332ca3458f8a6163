// Type-checks the `ts` blocks of the documents against the real API, each as a module of its own. Does not run them: the
// README's example is run by readme.test.ts.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const pages = ['README.md', 'docs/api.md', 'packages/core/README.md', 'packages/webrtc-transport/README.md']

/** What the pages say that their blocks may use. */
const surroundings = `
import type { KvCommands, KvQueries, Replica } from '@wepaxos/core'
import type { Room } from '@wepaxos/webrtc-transport'
declare global {
  const replica: Replica<KvCommands, KvQueries>
  const room: Room
  const WepaxosError: typeof import('@wepaxos/core').WepaxosError
  const signal: AbortSignal
  function render(value: unknown): void
  function show(value: unknown): void
}
export {}
`

function blocksOf(page: string): readonly string[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code)
}

/** The files do not exist on disk: they stand in the transport's folder, from where both packages' names are found. */
function virtualFiles(): ReadonlyMap<string, string> {
  const folder = join(root, 'packages/webrtc-transport/src')
  const files = new Map([[join(folder, 'snippet-surroundings.ts'), surroundings]])
  for (const page of pages) {
    for (const [index, code] of blocksOf(page).entries()) {
      const name = `snippet ${index + 1} of ${page.replaceAll('/', ' ')}.ts`
      files.set(join(folder, name), `${code}\nexport {}\n`)
    }
  }
  return files
}

function problemsIn(files: ReadonlyMap<string, string>): string[] {
  const config = ts.getParsedCommandLineOfConfigFile(
    join(root, 'tsconfig.json'),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: () => {},
    },
  )
  const options: ts.CompilerOptions = {
    ...config?.options,
    noUnusedLocals: false,
    paths: {
      '@wepaxos/core': [join(root, 'packages/core/src/index.ts')],
      '@wepaxos/core/indexeddb': [join(root, 'packages/core/src/storage/indexeddb.ts')],
      '@wepaxos/core/testing': [join(root, 'packages/core/testing/index.ts')],
      '@wepaxos/webrtc-transport': [join(root, 'packages/webrtc-transport/src/index.ts')],
    },
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.getSourceFile = (path, ...rest) => {
    const text = files.get(path)
    return text === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, text, rest[0])
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files.keys()].flatMap((path) => {
    const file = program.getSourceFile(path)
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
    return found.map(
      ({ messageText }) => `${path.slice(root.length)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    )
  })
}

describe('the documents', () => {
  it('show only code that the compiler takes', { timeout: 120_000 }, () => {
    const files = new Map(virtualFiles())
    expect(files.size).toBeGreaterThan(10)
    // One that is wrong, to see that wrong ones are found.
    const [surroundingsPath = ''] = files.keys()
    files.set(join(dirname(surroundingsPath), 'snippet-wrong.ts'), "replica.mutate.destroy('all')\nexport {}\n")
    const problems = problemsIn(files)
    expect(problems.pop()).toMatch(/snippet-wrong.*'destroy' does not exist/)
    expect(problems).toEqual([])
  })
})
