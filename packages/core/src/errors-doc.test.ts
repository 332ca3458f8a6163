// docs/errors.md and the type ErrorCode have the same codes. What the sections say is for people to check.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

function read(path: string): string {
  return readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8')
}

/** The codes as they are written: a type is gone when tests run. */
function codesInSource(): string[] {
  const [, union = ''] = /export type ErrorCode =([\s\S]*?)\n\n/.exec(read('./lib/errors.ts')) ?? []
  return [...union.matchAll(/'([A-Za-z]+)'/g)].map(([, code = '']) => code)
}

describe('docs/errors.md', () => {
  const page = read('../../../docs/errors.md')
  const sections = [...page.matchAll(/^## (.+)\n\n([\s\S]*?)(?=\n## |$(?![\s\S]))/gm)]

  it('has one section for each error code, and no other', () => {
    const codes = codesInSource()
    expect(codes).toContain('InvalidArgument')
    expect(sections.map(([, heading]) => heading).sort()).toEqual(codes.sort())
  })

  it('says something about each code', () => {
    for (const [, heading, text = ''] of sections) expect(text.trim().length, heading).toBeGreaterThan(60)
  })
})
