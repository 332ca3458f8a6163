// Plays every story of this folder and compares; and sees that none of those that the project wants told is missing.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ClusterLevel } from './cluster-level.ts'
import { ProtocolLevel } from './protocol-level.ts'
import { endsInExpectations, type Level, parseStory, playStory, type Story, StoryError } from './story.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
const rewrite = process.env['WEPAXOS_REWRITE'] === '1'

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .sort()
  .map((name) => {
    const path = `${folder}${name}`
    const text = readFileSync(path, 'utf8')
    return { name, path, text, story: parseStory(text) }
  })
const index = readFileSync(`${folder}README.md`, 'utf8')

/** The stories that have to be there, by file. */
const wanted = [
  'the-fast-path.txt',
  'the-slow-path.txt',
  'a-dependency-cycle.txt',
  'coordinator-crash-after-pre-accept.txt',
  'coordinator-crash-after-accept.txt',
  'competing-recoveries.txt',
  'a-waiting-deadlock-resolved.txt',
  'restart-from-disk.txt',
  'checkpoint-and-truncate.txt',
  'join-by-checkpoint.txt',
  'epoch-change-with-commands-in-flight.txt',
  'two-concurrent-barriers.txt',
  'removal-of-a-silent-voter.txt',
]

const schedules = Array.from({ length: 27 }, (_, at) => at + 1)

function levelOf(story: Story): Level {
  return story.head.level === 'protocol' ? new ProtocolLevel() : new ClusterLevel()
}

describe('the stories', () => {
  it.each(files)(
    '$name: $story.head.shows',
    async ({ path, text, story }) => {
      expect(endsInExpectations(story)).toBe(true)
      const played = await playStory(story, levelOf(story))
      if (rewrite && played.text !== text) writeFileSync(path, played.text)
      expect(played.failures).toEqual([])
      if (!rewrite) expect(played.text).toBe(text)
    },
    60_000,
  )

  it('are all there', () => {
    expect(files.map(({ name }) => name)).toEqual(expect.arrayContaining(wanted))
  })

  it('play every schedule', () => {
    const played = new Set(files.flatMap(({ story }) => story.head.schedules))
    expect([...played].sort((a, b) => a - b)).toEqual(schedules)
  })

  it('are in the index, each with its title, rules and schedules', () => {
    const rows = index.split('\n').filter((line) => line.startsWith('| ['))
    expect(rows).toEqual(files.map(({ name, story }) => row(name, story)))
  })
})

function row(name: string, { head }: Story): string {
  const { title, shows, rules, schedules: played } = head
  return `| [${title}](${name}) | ${shows} | ${rules.join(' ')} | ${played.join(', ')} |`
}

describe('the player of stories', () => {
  const head = 'title: t\nshows: s\nrules: [CO1]\nlevel: protocol\n\n'

  it('writes what came of the commands, and leaves expectations and prose as they are', async () => {
    const text = `${head}# prose\n\ncluster 3\n----\nsomething else\n\nexpect a can propose\n`
    const played = await playStory(parseStory(text), new ProtocolLevel())
    expect(played.failures).toEqual([])
    expect(played.text).toBe(text.replace('something else', 'a b c: slow quorum 2, fast quorum 2'))
  })

  it('a wrong expectation is a failure with its line, and stays as it is', async () => {
    const text = `${head}cluster 3\n----\na b c: slow quorum 2, fast quorum 2\n\nexpect next seq of a: 2\n`
    const played = await playStory(parseStory(text), new ProtocolLevel())
    expect(played.failures).toEqual([expect.stringMatching(/^line 10, .*expected “2”, found “1”/)])
    expect(played.text).toBe(text)
  })

  it('stops at a command that makes no sense', async () => {
    const text = `${head}cluster 3\ndeliver all\npropose a write x\n----\n\nexpect agreement\n`
    const played = await playStory(parseStory(text), new ProtocolLevel())
    expect(played.failures).toEqual([expect.stringContaining('nothing like that is on its way')])
  })

  it.each([
    ['agreement where nothing was committed', 'expect agreement'],
    ['an instance that is not committed', 'expect everywhere a.1: write x'],
    ['another execution than there was', 'expect executed a: a.1'],
    ['words that mean nothing', 'expect the best'],
  ])('refuses %s', async (_, expectation) => {
    const text = `${head}cluster 3\npropose a write x\n----\n\n${expectation}\n`
    const played = await playStory(parseStory(text), new ProtocolLevel())
    expect(played.failures).toHaveLength(1)
  })

  it('refuses a head without a level, and expectations among commands', () => {
    expect(() => parseStory('title: t\nshows: s\nrules: [CO1]\n')).toThrow(StoryError)
    expect(() => parseStory(`${head}cluster 3\nexpect agreement\n----\n`)).toThrow(StoryError)
  })
})
