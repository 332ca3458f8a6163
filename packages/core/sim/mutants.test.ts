// The test of the tester: rules broken on purpose are seen. All of them are `npm run mutants`.
import { describe, expect, it } from 'vitest'
import { huntMutant } from './mutants.ts'
import { mutate, mutations, sourceOf } from './mutations.ts'

describe('mutations', () => {
  it.each(mutations.map((mutation) => [mutation.name, mutation] as const))('%s still applies', (_, mutation) => {
    const { text } = sourceOf(mutation)
    expect(mutate(mutation, text)).not.toBe(text)
  })

  it('have names of their own', () => {
    expect(new Set(mutations.map(({ name }) => name)).size).toBe(mutations.length)
  })

  it('say what does not occur exactly once', () => {
    const mutation = { name: 'm', rule: 'CO1', file: 'f', edits: [{ find: 'a', replace: 'b' }] }
    expect(() => mutate(mutation, 'aa')).toThrow('occurs 2 times')
    expect(() => mutate(mutation, 'x')).toThrow('occurs 0 times')
    expect(mutate(mutation, 'xa')).toBe('xb')
  })
})

describe('a hunt', () => {
  it.concurrent.each([
    ['slow-path-takes-own-deps', 100],
    ['one-ballot-for-promise-and-vote', 0],
    ['too-small-support-overlooked', 0],
    ['barriers-not-last-in-a-component', 0],
  ])('finds %s', { timeout: 60_000 }, async (name, walks) => {
    const mutation = mutations.find((one) => one.name === name) ?? null
    expect(mutation).not.toBeNull()
    const explore = mutation?.explore ?? []
    const { found } = await huntMutant(mutation, { seed: 1, seconds: Number.MAX_SAFE_INTEGER, walks, explore })
    expect(found?.reason).toMatch(/^(Visibility|Agreement|Liveness|Cut): /)
  })

  it.concurrent('finds nothing in the code as it is', { timeout: 60_000 }, async () => {
    const { found, walks } = await huntMutant(null, {
      seed: 1,
      seconds: Number.MAX_SAFE_INTEGER,
      walks: 60,
      explore: [],
    })
    expect(found).toBeNull()
    expect(walks).toBe(60)
  })
})
