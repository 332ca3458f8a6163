import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  flagOf,
  helpText,
  OptionError,
  type OptionName,
  optionsMarkdown,
  optionTable,
  readCommandLine,
  variableOf,
} from './options.ts'

const names = Object.keys(optionTable) as OptionName[]
const needed = ['--invite-file', 'invite', '--signaling', 'wss://signal.example/', '--data', 'data']

function optionsOf(argv: readonly string[], environment: Record<string, string> = {}) {
  const line = readCommandLine(argv, environment)
  if (line.command !== 'run') throw new Error(`expected run, got ${line.command}`)
  return line.options
}

/** Fails where these flags are taken. */
function problemOf(argv: readonly string[]): string {
  try {
    readCommandLine(argv, {})
  } catch (error) {
    if (error instanceof OptionError) return error.message
    throw error
  }
  throw new Error('the flags were taken')
}

describe('the option table', () => {
  it('has defaults that pass their own checks', () => {
    for (const name of names) expect([name, optionTable[name].accepts(optionTable[name].initial)]).toEqual([name, true])
    expect(optionsOf(needed)).toMatchObject({
      partition: ['demo'],
      role: 'voter',
      http: '127.0.0.1:9464',
      votersMax: 7,
    })
  })

  it('is the table that the README shows', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
    const shown = /<!-- options -->\n([\s\S]*?)\n<!-- \/options -->/.exec(readme)?.[1]
    const unpadded = shown?.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---')
    expect(unpadded?.trim()).toBe(optionsMarkdown())
  })

  it('is in --help, each flag once', () => {
    for (const name of names) expect(helpText().split(`  ${flagOf(name)} `)).toHaveLength(2)
  })

  it('names flags and variables after the option', () => {
    expect(flagOf('votersMax')).toBe('--voters-max')
    expect(variableOf('votersMax')).toBe('WEPAXOS_EDGE_VOTERS_MAX')
  })
})

describe('readCommandLine', () => {
  it('takes flags in both spellings, over the environment, over the defaults', () => {
    const environment = { WEPAXOS_EDGE_HTTP: 'off', WEPAXOS_EDGE_VOTERS_MAX: '5', WEPAXOS_EDGE_ROLE: '' }
    const options = optionsOf([...needed, '--http=[::1]:0', '--durability', 'relaxed'], environment)
    expect(options).toMatchObject({ http: '[::1]:0', votersMax: 5, role: 'voter', durability: 'relaxed' })
  })

  it('takes everything that is needed from the environment', () => {
    const environment = {
      WEPAXOS_EDGE_INVITE: '#v1.w.x',
      WEPAXOS_EDGE_SIGNALING: 'ws://localhost:1',
      WEPAXOS_EDGE_DATA: '/data',
      WEPAXOS_EDGE_PARTITION: 'seats, names',
    }
    expect(optionsOf([], environment)).toMatchObject({
      invite: '#v1.w.x',
      data: '/data',
      partition: ['seats', 'names'],
    })
  })

  it('takes lists with commas and as repeated flags', () => {
    const flags = ['--partition', 'a,b', '--partition=c/d', '--ice', 'stun:a.example,turn:b.example:3478']
    const { partition, ice } = optionsOf([...needed, ...flags])
    expect(partition).toEqual(['a', 'b', 'c/d'])
    expect(ice).toEqual(['stun:a.example', 'turn:b.example:3478'])
  })

  it.each([
    [['--prot', '1'], '--prot: there is no such flag (see --help)'],
    [['--data'], '--data: needs a value'],
    [['--data', '--http', 'off'], '--data: needs a value'],
    [['--data', ''], '--data: needs a value'],
    [['--ice='], '--ice: needs a value'],
    [[...needed, '--partition', 'a', '--partition', ''], '--partition: needs a value'],
    [['--voters-max', '2', '--voters-max', '3'], '--voters-max: given twice'],
    [['--voters-max', '10'], '--voters-max: expected an integer from 1 to 9, got 10'],
    [['--http', '9464'], '--http: expected HOST:PORT such as 127.0.0.1:9464, or off, got "9464"'],
    [[...needed, '--http', 'localhost:65536'], '--http: expected a port up to 65535, got "localhost:65536"'],
    [[...needed, '--partition', ','], '--partition: expected at least one name'],
    [[...needed, '--partition', 'a,a'], '--partition: names a twice'],
    [[...needed, '--ice', 'https://x'], '--ice: expected addresses such as stun:stun.example:3478, got ["https://x"]'],
    [[...needed, '--invite', 'x'], '--invite-file: expected it without --invite'],
    [['--signaling', 'wss://a', '--data', 'd'], '--invite-file: is needed (or --invite)'],
    [['--invite', 'x', '--data', 'd'], '--signaling: is needed'],
    [['--invite', 'x', '--signaling', 'wss://a'], '--data: is needed'],
  ])('refuses %j', (argv, message) => {
    expect(problemOf(argv)).toBe(message)
  })

  it('names the variable when the environment is wrong', () => {
    expect(() => readCommandLine([], { WEPAXOS_EDGE_ROLE: 'king' })).toThrow('WEPAXOS_EDGE_ROLE: expected one of')
  })

  it('repeats neither an address that may hold a password, nor a word whose flag was forgotten', () => {
    expect(problemOf(['--signaling', 'http://me:hunter2@a'])).toBe(
      '--signaling: expected an address that begins with wss:// or ws://, got something else',
    )
    expect(problemOf(['#v1.w.hunter2'])).toBe('wepaxos-edge: takes flags only (see --help)')
  })

  it('knows --help and --version', () => {
    expect(readCommandLine(['--help'], {})).toEqual({ command: 'help' })
    expect(readCommandLine(['--version'], {})).toEqual({ command: 'version' })
  })
})
