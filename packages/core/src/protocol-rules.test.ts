// Keeps docs/protocol.md, the tags in source comments and the names of tests together. What the rules say is not checked
// here: the tests that name them do that.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const core = fileURLToPath(new URL('..', import.meta.url))
const page = readFileSync(join(core, '../../docs/protocol.md'), 'utf8')

const tagPattern = /\[([A-Z]{2}\d+(?:\.\d+)*)\]/g
const untestedHeading = '## Rules without a test of their own'

function tagsOf(text: string): string[] {
  return [...text.matchAll(tagPattern)].map(([, tag = '']) => tag)
}

/** Rules are the paragraphs of the page that begin with a tag in bold. */
const rules = [...page.matchAll(/^\*\*\[([A-Z]{2}\d+(?:\.\d+)*)\]/gm)].map(([, tag = '']) => tag)
const untested = tagsOf(page.slice(page.indexOf(untestedHeading)))

const sourcePattern = /\.(?:ts|txt)$/
const testPattern = /\.(?:browser-)?test\.ts$/
const folders = ['src', 'testing', 'sim', 'scenarios'] as const

interface SourceFile {
  readonly path: string
  readonly tags: readonly string[]
}

function filesUnder(folder: string): SourceFile[] {
  return readdirSync(join(core, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => sourcePattern.test(path))
    .map((path) => ({ path: join(folder, path), tags: tagsOf(readFileSync(join(core, folder, path), 'utf8')) }))
}

const present = readdirSync(core)
const files = folders.filter((folder) => present.includes(folder)).flatMap(filesUnder)
const named = new Set(files.filter(({ path }) => testPattern.test(path)).flatMap(({ tags }) => tags))

/** A rule with numbered cases is named where one of its cases is. */
function isNamed(rule: string): boolean {
  return named.has(rule) || [...named].some((tag) => tag.startsWith(`${rule}.`))
}

describe('docs/protocol.md', () => {
  it('has each rule once', () => {
    expect(rules.length).toBeGreaterThan(30)
    expect(rules).toEqual([...new Set(rules)])
  })

  it('has a rule for every tag that a file of the core quotes', () => {
    const unknown = files.flatMap(({ path, tags }) => {
      return tags.filter((tag) => !rules.includes(tag)).map((tag) => `${path} quotes ${tag}`)
    })
    expect(files.some(({ tags }) => tags.length > 0)).toBe(true)
    expect(unknown).toEqual([])
  })

  it('quotes only rules that it has', () => {
    expect(tagsOf(page).filter((tag) => !rules.includes(tag))).toEqual([])
  })

  it('lists exactly those rules as without a test that no test names', () => {
    expect(page).toContain(untestedHeading)
    expect([...untested].sort()).toEqual(rules.filter((rule) => !isNamed(rule)).sort())
  })
})
