// Stories: text files that a person can follow, played by the code that ships. This file reads them, plays them and writes
// their outputs; what the commands of the two levels mean stands in protocol-level.ts and cluster-level.ts.
//
// A story begins with a head (title, shows, rules, level, and the schedules that it plays, where it does). Then come
// blocks between empty lines. A block that begins with `#` is for the reader. Every other block has one command a line,
// `----`, and what came of it:
//
//   propose a write x
//   ----
//   a → b c  PreAccept a.1 write x, deps 0 0 0
//
// The output is part of the file: the test plays the commands and compares. After a change that is meant,
//
//   WEPAXOS_REWRITE=1 npx vitest run --project node packages/core/scenarios
//
// writes the outputs anew, to be read as a diff. A line that begins with `expect` has no output and is never rewritten: it
// says in words what has to hold, so a rewrite can not make a wrong outcome pass. Every story ends with such lines.
import { must } from '../src/lib/assert.ts'

export type LevelName = 'protocol' | 'cluster'

/** What a story is about, for the index and for the test that counts what is covered. */
export interface Head {
  readonly title: string
  readonly shows: string
  /** The rules of docs/protocol.md that it plays, without brackets. */
  readonly rules: readonly string[]
  readonly schedules: readonly number[]
  readonly level: LevelName
}

interface Command {
  readonly line: number
  readonly text: string
}

/** A part of the file between empty lines. */
type Block =
  | { readonly kind: 'prose'; readonly text: string }
  | { readonly kind: 'commands'; readonly commands: readonly Command[]; readonly output: string }
  | { readonly kind: 'expectations'; readonly commands: readonly Command[] }

export interface Story {
  readonly head: Head
  readonly headText: string
  readonly blocks: readonly Block[]
}

/** A cluster that understands commands. One is made for each story. */
export interface Level {
  /** Does it, and says what happened. Throws StoryError where the words make no sense. */
  perform(command: string): Promise<readonly string[]>
  /** Throws StoryError where it does not hold. */
  expect(what: string): Promise<void>
}

/** A story that can not be read, or in which something else happened than it says. */
export class StoryError extends Error {}

const headFields = ['title', 'shows', 'rules', 'schedules', 'level'] as const
const divider = '----'

export function parseStory(text: string): Story {
  const [headText = '', ...rest] = text.trimEnd().split(/\n{2,}/)
  let line = 1 + headText.split('\n').length
  const blocks: Block[] = []
  for (const part of rest) {
    line++ // the empty line before it
    blocks.push(parseBlock(part, line))
    line += part.split('\n').length
  }
  return { head: parseHead(headText), headText, blocks }
}

function parseHead(text: string): Head {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^(\w+): (.+)$/.exec(line) ?? []
    if (!headFields.some((field) => field === name)) throw new StoryError(`the head has no line like “${line}”`)
    fields.set(name, value)
  }
  const field = (name: string): string => {
    const value = fields.get(name)
    if (value === undefined) throw new StoryError(`the head does not say “${name}: …”`)
    return value
  }
  const level = field('level')
  if (level !== 'protocol' && level !== 'cluster') throw new StoryError(`there is no level “${level}”`)
  return {
    title: field('title'),
    shows: field('shows'),
    rules: [...field('rules').matchAll(/\[([A-Z]{2}[\d.]+)\]/g)].map(([, rule = '']) => rule),
    schedules: (fields.get('schedules') ?? '').split(/[ ,]+/).filter(Boolean).map(Number),
    level,
  }
}

function parseBlock(part: string, firstLine: number): Block {
  if (part.startsWith('#')) return { kind: 'prose', text: part }
  const lines = part.split('\n')
  const end = lines.indexOf(divider)
  const commands = lines
    .slice(0, end === -1 ? lines.length : end)
    .map((text, index) => ({ text: text.trim(), line: firstLine + index }))
  const expectations = commands.filter(({ text }) => text.startsWith('expect ')).length
  if (expectations === commands.length && end === -1) return { kind: 'expectations', commands }
  if (expectations > 0) throw new StoryError(`line ${firstLine}: expectations stand by themselves, without output`)
  return { kind: 'commands', commands, output: end === -1 ? '' : lines.slice(end + 1).join('\n') }
}

export interface Played {
  /** The file as it should be: with the outputs that came. */
  readonly text: string
  /** What did not hold, each with its line. */
  readonly failures: readonly string[]
}

/** Plays a story to its end, or to the first command that can not be carried out. */
export async function playStory(story: Story, level: Level): Promise<Played> {
  const parts = [story.headText]
  const failures: string[] = []
  let stopped = false
  const attempt = async <T>({ line, text }: Command, action: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await action()
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      failures.push(`line ${line}, “${text}”: ${why}`)
      if (!(error instanceof StoryError) && error instanceof Error) failures.push(must(error.stack, 'errors have one'))
      return undefined
    }
  }
  for (const block of story.blocks) {
    if (block.kind === 'prose') {
      parts.push(block.text)
      continue
    }
    const commands = block.commands.map(({ text }) => text)
    if (block.kind === 'expectations') {
      for (const command of block.commands) {
        if (!stopped) await attempt(command, () => level.expect(command.text.slice('expect '.length)))
      }
      parts.push(commands.join('\n'))
      continue
    }
    const output: string[] = []
    for (const command of block.commands) {
      if (stopped) break
      const lines = await attempt(command, () => level.perform(command.text))
      if (lines === undefined) stopped = true
      else output.push(...lines)
    }
    if (stopped) output.push('(not carried out)')
    if (output.length === 0) output.push('(nothing to see)')
    parts.push([...commands, divider, ...output].join('\n'))
  }
  return { text: `${parts.join('\n\n')}\n`, failures }
}

/** Whether its last word is what has to hold. */
export function endsInExpectations({ blocks }: Story): boolean {
  return blocks.at(-1)?.kind === 'expectations'
}
