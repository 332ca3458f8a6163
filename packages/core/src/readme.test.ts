// The example of the README is run as it stands there. Its imports are looked up here, since nothing is installed under the
// packages' names within the package itself; all other lines are executed unchanged.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as testing from '../testing/index.ts'
import * as core from './index.ts'

const modules: Readonly<Record<string, object>> = { '@wepaxos/core': core, '@wepaxos/core/testing': testing }

const importPattern = /^import \{ ([\w, ]+) \} from '([^']+)'$/gm
const expectationPattern = /^console\.log\(.*\) \/\/ (.+)$/gm

function example(): string {
  const readme = readFileSync(fileURLToPath(new URL('../../../README.md', import.meta.url)), 'utf8')
  const [, code = ''] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
  return code
}

describe('the example of the README', () => {
  it('names this test, and is short', () => {
    expect(example()).toContain('packages/core/src/readme.test.ts')
    expect(example().split('\n').length).toBeLessThan(26)
  })

  it('does what its comments say', async () => {
    const code = example()
    const names: string[] = []
    const values: unknown[] = []
    for (const [, imported = '', from = ''] of code.matchAll(importPattern)) {
      const module = modules[from]
      expect(module, `the example imports ${from}, which this test does not know`).toBeDefined()
      for (const name of imported.split(', ')) {
        expect(module, `${from} has no ${name}`).toHaveProperty(name)
        names.push(name)
        values.push(Reflect.get(module ?? {}, name))
      }
    }
    const logged: string[] = []
    const log = (value: unknown) => void logged.push(String(value))
    // The example has no types, so that a reader of JavaScript can take it too.
    const body = `return (async () => {\n${code.replaceAll(importPattern, '')}\n})()`
    await new Function('console', ...names, body)({ log }, ...values)

    const expected = [...code.matchAll(expectationPattern)].map(([, comment = '']) => comment)
    expect(expected.length).toBeGreaterThan(0)
    expect(logged).toEqual(expected)
  })
})
