import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  flagOf,
  type GivenOptions,
  helpText,
  OptionError,
  type OptionName,
  optionsMarkdown,
  optionTable,
  readCommandLine,
  resolveOptions,
  variableOf,
} from './options.ts'

const names = Object.keys(optionTable) as OptionName[]

function serveOptions(argv: readonly string[], environment: Record<string, string> = {}) {
  const line = readCommandLine(argv, environment)
  if (line.command !== 'serve') throw new Error(`expected serve, got ${line.command}`)
  return line.options
}

describe('the option table', () => {
  it('has defaults that pass their own checks', () => {
    const options = resolveOptions({})
    expect(resolveOptions(options)).toEqual(options)
    expect(options).toMatchObject({
      host: '127.0.0.1',
      payloadBytesMax: 16_384,
      messagesPerSecond: 20,
      socketsMax: 5_000,
    })
  })

  it('is the table that the README shows', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
    const shown = /<!-- options -->\n([\s\S]*?)\n<!-- \/options -->/.exec(readme)?.[1]
    // The formatter pads the cells.
    const unpadded = shown?.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---')
    expect(unpadded?.trim()).toBe(optionsMarkdown())
  })

  it('is in --help, each flag once', () => {
    for (const name of names) expect(helpText().split(`  ${flagOf(name)} `)).toHaveLength(2)
  })

  it('names flags and variables after the option', () => {
    expect(flagOf('addressConnectsPerMinute')).toBe('--address-connects-per-minute')
    expect(variableOf('addressConnectsPerMinute')).toBe('WEPAXOS_SIGNALING_ADDRESS_CONNECTS_PER_MINUTE')
  })
})

describe('resolveOptions', () => {
  it.each<[string, GivenOptions]>([
    ['a port beyond the last', { port: 65_536 }],
    ['a port that is no integer', { port: 1.5 }],
    ['a limit of zero', { socketsMax: 0 }],
    ['an origin with a path', { origins: ['https://app.example/'] }],
    ['an origin that is a pattern', { origins: ['https://*.example/*'] }],
    ['a proxy that is a name', { trustedProxies: ['proxy.example'] }],
    ['a subnet that is too narrow', { trustedProxies: ['10.0.0.0/33'] }],
    ['a path without its slash', { path: 'signal' }],
    ['a level that there is not', { logLevel: 'loud' as 'info' }],
    ['text for a number', { port: '80' as unknown as number }],
    ['a list that is none', { origins: 'https://app.example' as unknown as string[] }],
    ['an option that there is not', { prot: 1 } as GivenOptions],
    ['an option that every object has', { constructor: 1 } as unknown as GivenOptions],
  ])('refuses %s with a typed error', (_, given) => {
    expect(() => resolveOptions(given)).toThrow(OptionError)
  })

  it('says what was expected and what came', () => {
    expect(() => resolveOptions({ port: -1 })).toThrow('port: expected an integer from 0 to 65535, got -1')
  })
})

describe('readCommandLine', () => {
  it('takes flags in both spellings, over the environment, over the defaults', () => {
    const environment = { WEPAXOS_SIGNALING_PORT: '1', WEPAXOS_SIGNALING_SOCKETS_MAX: '7', WEPAXOS_SIGNALING_PATH: '' }
    const options = serveOptions(['--port=2', '--rooms-max', '3'], environment)
    expect(options).toMatchObject({ port: 2, roomsMax: 3, socketsMax: 7, path: '/' })
  })

  it('takes lists with commas and as repeated flags', () => {
    const flags = ['--origins', 'https://a.example, https://b.example', '--origins=http://localhost:5173']
    expect(serveOptions(flags).origins).toEqual(['https://a.example', 'https://b.example', 'http://localhost:5173'])
  })

  it.each([
    [['--prot', '1'], '--prot: there is no such flag (see --help)'],
    [['serve'], 'serve: there is no such flag (see --help)'],
    [['--port'], '--port: needs a value'],
    [['--port', '--host', 'x'], '--port: needs a value'],
    [['--port', '1', '--port', '2'], '--port: given twice'],
    [['--port', '0x50'], '--port: expected an integer from 0 to 65535, got "0x50"'],
    [['--port='], '--port: needs a value'],
    [['--origins', ''], '--origins: needs a value'],
    [['--origins', ' , '], '--origins: needs a value'],
    [['--origins', 'https://a.example', '--origins='], '--origins: needs a value'],
    [['--jwt-secret-file', ''], '--jwt-secret-file: needs a value'],
  ])('refuses %j', (argv, message) => {
    expect(() => readCommandLine(argv, {})).toThrow(new OptionError(...splitOnce(message)))
  })

  it('takes no protection away for an empty flag, nor for a list of nothing in the environment', () => {
    const environment = { WEPAXOS_SIGNALING_ORIGINS: 'https://app.example' }
    expect(() => readCommandLine(['--origins', ''], environment)).toThrow(OptionError)
    const nothing = { WEPAXOS_SIGNALING_ORIGINS: ',' }
    expect(() => readCommandLine([], nothing)).toThrow('WEPAXOS_SIGNALING_ORIGINS: needs a value')
    expect(serveOptions(['--origins', 'https://a.example'], nothing).origins).toEqual(['https://a.example'])
  })

  it('names the variable when the environment is wrong', () => {
    expect(() => readCommandLine([], { WEPAXOS_SIGNALING_PORT: 'eighty' })).toThrow('WEPAXOS_SIGNALING_PORT: expected')
  })

  it('knows --help and --version', () => {
    expect(readCommandLine(['--help'], {})).toEqual({ command: 'help' })
    expect(readCommandLine(['--version'], {})).toEqual({ command: 'version' })
  })
})

function splitOnce(message: string): [string, string] {
  const at = message.indexOf(': ')
  return [message.slice(0, at), message.slice(at + 2)]
}
