import { replicaId } from '@wepaxos/core'
import { expect, test } from 'vitest'
import { cleanName, defaultProfile, hueCount, loadProfile, type ProfileStore, saveProfile } from './profile.ts'

const ada = replicaId('0'.repeat(32))

function memoryStore(): ProfileStore {
  const items = new Map<string, string>()
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  }
}

test('a replica without a profile is always given the same name and colour', () => {
  expect(defaultProfile(ada)).toEqual(defaultProfile(ada))
  expect(defaultProfile(ada)).toEqual({ name: 'Ada', hue: 0, chosen: false })
})

test('the name and colour of others are avoided while there are free ones', () => {
  const first = defaultProfile(ada)
  const second = defaultProfile(ada, [first])
  expect(second.name).not.toBe(first.name)
  expect(second.hue).not.toBe(first.hue)
  const allHues = Array.from({ length: hueCount }, (_, hue) => ({ name: `peer ${hue}`, hue }))
  expect(defaultProfile(ada, allHues).hue).toBe(0)
})

test('a saved profile comes back, and damaged ones count as none', () => {
  const store = memoryStore()
  saveProfile(store, ada, { name: 'Grace', hue: 3, chosen: true })
  expect(loadProfile(store, ada)).toEqual({ name: 'Grace', hue: 3, chosen: true })
  for (const damaged of ['{', '{"name":"x","hue":8}', '{"name":"","hue":1}', '[]']) {
    store.setItem(`wepaxos-demo/profile/${ada}`, damaged)
    expect(loadProfile(store, ada)).toBeUndefined()
  }
})

test('a storage that is switched off costs the memory of a name, not the page', () => {
  const broken: ProfileStore = {
    getItem: () => {
      throw new Error('SecurityError')
    },
    setItem: () => {
      throw new Error('SecurityError')
    },
    removeItem: () => {
      throw new Error('SecurityError')
    },
  }
  expect(loadProfile(broken, ada)).toBeUndefined()
  expect(() => saveProfile(broken, ada, { name: 'x', hue: 0, chosen: true })).not.toThrow()
})

test('names are one short line', () => {
  expect(cleanName('  Ada\n\u202e Lovelace ')).toBe('Ada Lovelace')
  expect(Array.from(cleanName('🦊'.repeat(100)) ?? '')).toHaveLength(24)
  expect(cleanName(' \u0000 ')).toBeUndefined()
})
