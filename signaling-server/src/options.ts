// The one table of options: the library's option names, the command's flags, the environment variables, their checks, the
// text of `--help` and the table in the README all come from here. Hooks, which are functions, are not options.
import { isIP } from 'node:net'

/** One row of the table. */
interface OptionSpec<Value> {
  readonly initial: Value
  /** How the value is written in `--help`. */
  readonly placeholder: string
  /** Ends the sentence "expected …" of an error. */
  readonly expects: string
  readonly help: string
  /** A list takes several flags, or one with commas. */
  readonly isList: boolean
  fromText(text: string): unknown
  accepts(value: unknown): value is Value
}

function integer(initial: number, min: number, max: number, help: string): OptionSpec<number> {
  return {
    initial,
    placeholder: 'N',
    expects: `an integer from ${min} to ${max}`,
    help,
    isList: false,
    fromText: (text) => (/^[0-9]{1,15}$/.test(text) ? Number(text) : text),
    accepts: (value): value is number => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
  }
}

function text(
  initial: string,
  pattern: RegExp,
  placeholder: string,
  expects: string,
  help: string,
): OptionSpec<string> {
  return {
    initial,
    placeholder,
    expects,
    help,
    isList: false,
    fromText: (given) => given,
    accepts: (value): value is string => typeof value === 'string' && pattern.test(value),
  }
}

function choice<Choice extends string>(
  initial: NoInfer<Choice>,
  choices: readonly Choice[],
  help: string,
): OptionSpec<Choice> {
  return {
    initial,
    placeholder: choices.join('|'),
    expects: `one of ${choices.join(', ')}`,
    help,
    isList: false,
    fromText: (given) => given,
    accepts: (value): value is Choice => choices.some((one) => one === value),
  }
}

function list(
  isEntry: (entry: string) => boolean,
  placeholder: string,
  expects: string,
  help: string,
): OptionSpec<readonly string[]> {
  return {
    initial: [],
    placeholder,
    expects,
    help,
    isList: true,
    fromText: (given) =>
      given
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== ''),
    accepts: (value): value is readonly string[] =>
      Array.isArray(value) && value.every((entry) => typeof entry === 'string' && isEntry(entry)),
  }
}

/** A file's path; nothing by default. */
function file(help: string): OptionSpec<string> {
  return text('', /^[^\0]{0,4096}$/, 'FILE', "a file's path", help)
}

const dayMs = 86_400_000

export const optionTable = {
  host: text('127.0.0.1', /^[A-Za-z0-9.:_-]{1,255}$/, 'HOST', 'an address or a host name', 'address to listen on'),
  port: integer(8787, 0, 65_535, 'port to listen on; 0 takes a free one'),
  path: text('/', /^\/[A-Za-z0-9/._~-]{0,200}$/, 'PATH', 'a path that begins with /', 'path of the WebSocket'),
  origins: list(
    (entry) => /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@,]+$/.test(entry),
    'ORIGIN,…',
    'origins such as https://app.example (no path, no slash at the end)',
    "the only web origins whose pages may connect, compared exactly; none given: EVERY website's pages may",
  ),
  trustedProxies: list(
    isAddressOrSubnet,
    'ADDRESS,…',
    'IP addresses or subnets such as 10.0.0.0/8',
    'reverse proxies whose X-Forwarded-For is believed; none given: nobody is',
  ),
  cert: file('certificate chain (PEM) for wss://, with --key; read anew on SIGHUP'),
  key: file('private key (PEM) of --cert'),
  yWebrtcPath: text(
    '',
    /^$|^\/[A-Za-z0-9/._~-]{0,200}$/,
    'PATH',
    'a path that begins with /',
    "path of a second WebSocket, for y-webrtc's clients",
  ),
  jwtSecretFile: file('file with the secret of the tokens (HS256, HS384, HS512) that peers must show'),
  jwtJwks: text(
    '',
    /^$|^https:\/\/[^\s]{1,2000}$|^http:\/\/(127\.0\.0\.1|localhost)[:/][^\s]{0,2000}$|^(?![a-z]+:)[^\0]{1,4096}$/,
    'FILE|URL',
    'a file or an https:// URL',
    'JSON Web Key Set that signs the tokens that peers must show, as a file or an https:// URL',
  ),
  jwtIssuer: text(
    '',
    /^[^\p{Cc}]{0,1000}$/u,
    'TEXT',
    'the text of a claim',
    'what the tokens must have as `iss`; none given: anything',
  ),
  jwtAudience: text(
    '',
    /^[^\p{Cc}]{0,1000}$/u,
    'TEXT',
    'the text of a claim',
    'what the tokens must have as `aud`, or among it; none given: anything',
  ),
  turnSecretFile: file("file with the secret that is the TURN server's `static-auth-secret`"),
  turnUrls: list(
    (entry) => /^(?:stun|turn)s?:[^\s,]{1,500}$/.test(entry),
    'URL,…',
    'TURN URLs such as turn:turn.example:3478',
    'TURN (and STUN) servers that joined peers are told, with credentials',
  ),
  turnTtl: integer(
    3_600,
    60,
    604_800,
    'seconds for which TURN credentials are good; members get new ones at half of it',
  ),
  redisUrl: text(
    '',
    /^$|^rediss?:\/\/[^\s]{1,2000}$/,
    'URL',
    'a redis:// or rediss:// URL',
    'Redis server through which several processes share their rooms',
  ),
  redisPrefix: text(
    'wepaxos:signaling:',
    /^[A-Za-z0-9:._-]{1,100}$/,
    'TEXT',
    'letters, digits, colons, dots, dashes',
    'begins the name of each key and channel in Redis',
  ),
  redisProcessTimeoutMs: integer(
    10_000,
    200,
    600_000,
    'after so long without a sign of a process its peers count as gone (with --redis-url)',
  ),
  logLevel: choice('info', ['debug', 'info', 'silent'], 'what is logged; debug adds every join, leave and refusal'),
  payloadBytesMax: integer(16_384, 256, 1_048_576, 'bytes of one message; more closes the socket with 1009'),
  fragmentsMax: integer(16, 1, 1_024, 'WebSocket fragments of one message'),
  headersTimeoutMs: integer(5_000, 10, 60_000, 'time for a connection to send its HTTP headers'),
  firstMessageTimeoutMs: integer(5_000, 10, 60_000, 'time for a new socket to say hello'),
  authorizeTimeoutMs: integer(5_000, 10, 60_000, 'time for the check of a token, or the authorize hook, to answer'),
  pingIntervalMs: integer(20_000, 10, 600_000, 'time between two pings of the server'),
  pingMissesMax: integer(2, 1, 10, 'unanswered pings after which a socket is dropped'),
  bufferedBytesMax: integer(262_144, 1_024, 16_777_216, 'unsent bytes after which a slow reader is dropped'),
  messagesPerSecond: integer(20, 1, 10_000, 'messages a second from one socket, in the long run'),
  messagesBurst: integer(60, 1, 100_000, 'messages from one socket at once'),
  addressSocketsMax: integer(20, 1, 100_000, 'open sockets of one IPv4 address or one IPv6 /64'),
  addressConnectsPerMinute: integer(30, 1, 1_000_000, 'new sockets a minute of one IPv4 address or one IPv6 /64'),
  addressSpareConnections: integer(
    20,
    1,
    100_000,
    'connections of one address beyond its sockets, for health checks and refusals (proxies: no limit)',
  ),
  roomSocketsMax: integer(32, 2, 10_000, 'sockets in one room (or y-webrtc topic)'),
  socketsMax: integer(5_000, 1, 1_000_000, 'sockets in all'),
  roomsMax: integer(2_000, 1, 1_000_000, 'rooms in all, and as many y-webrtc topics'),
  socketTopicsMax: integer(20, 1, 10_000, 'y-webrtc topics of one socket'),
  resumeMs: integer(120_000, 0, dayMs, 'how long a peer that lost its socket may take up its id again'),
  drainMs: integer(5_000, 0, 600_000, 'on SIGTERM: time between telling the peers and closing their sockets'),
  retryAfterMs: integer(1_000, 0, 600_000, 'on SIGTERM: when the peers are asked to come back'),
} as const

type OptionTable = typeof optionTable
export type OptionName = keyof OptionTable
type ValueOf<Spec> = Spec extends OptionSpec<infer Value> ? Value : never

/** Every option with a checked value. */
export type SignalingOptions = { readonly [Name in OptionName]: ValueOf<OptionTable[Name]> }
export type GivenOptions = { readonly [Name in OptionName]?: SignalingOptions[Name] | undefined }

const optionNames = Object.keys(optionTable) as readonly OptionName[]

/** An option that is not one, or has a value that it can not have. */
export class OptionError extends Error {
  readonly code = 'InvalidArgument'
  /** The option as the caller wrote it: a name, a flag or an environment variable. */
  readonly option: string

  constructor(option: string, problem: string) {
    super(`${option}: ${problem}`)
    this.name = 'OptionError'
    this.option = option
  }
}

/** Checks what was given and fills in the rest. Throws OptionError. */
export function resolveOptions(given: GivenOptions): SignalingOptions {
  for (const name of Object.keys(given)) {
    if (!isOptionName(name)) throw new OptionError(name, 'there is no such option')
  }
  return resolve((name) => ({ writtenAs: name, value: given[name] }))
}

export type CommandLine =
  | { readonly command: 'help' }
  | { readonly command: 'version' }
  | { readonly command: 'serve'; readonly options: SignalingOptions }

/** Reads the command's flags; where there is none, the environment. Throws OptionError. */
export function readCommandLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): CommandLine {
  const flags = new Map<OptionName, string>()
  const rest = [...argv]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--help' || word === '-h') return { command: 'help' }
    if (word === '--version') return { command: 'version' }
    const equals = word.indexOf('=')
    const flag = equals < 0 ? word : word.slice(0, equals)
    const name = optionNames.find((candidate) => flagOf(candidate) === flag)
    if (name === undefined) throw new OptionError(flag, 'there is no such flag (see --help)')
    const value = equals < 0 ? rest.shift() : word.slice(equals + 1)
    if (value === undefined || (equals < 0 && value.startsWith('--'))) throw new OptionError(flag, 'needs a value')
    // Nothing at all, as a script's empty variable gives it, would take back what the environment says, such as the origins.
    if (isNothing(name, value)) throw new OptionError(flag, 'needs a value')
    const earlier = flags.get(name)
    if (earlier !== undefined && !optionTable[name].isList) throw new OptionError(flag, 'given twice')
    flags.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  const options = resolve((name) => {
    const flag = flags.get(name)
    if (flag !== undefined) return { writtenAs: flagOf(name), value: optionTable[name].fromText(flag) }
    const variable = environment[variableOf(name)]
    if (variable === undefined || variable === '') return { writtenAs: name, value: undefined }
    if (isNothing(name, variable)) throw new OptionError(variableOf(name), 'needs a value')
    return { writtenAs: variableOf(name), value: optionTable[name].fromText(variable) }
  })
  return { command: 'serve', options }
}

export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

export function variableOf(name: OptionName): string {
  return `WEPAXOS_SIGNALING_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** What `--help` prints. */
export function helpText(): string {
  const rows = optionNames.map((name) => {
    const { placeholder, help } = optionTable[name]
    return { left: `  ${flagOf(name)} ${placeholder}`, right: `${help} (${initialText(name) || 'none'})` }
  })
  rows.push(
    { left: '  --help', right: 'print this and stop' },
    { left: '  --version', right: 'print the version and stop' },
  )
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2
  return [
    'wepaxos-signaling: introduces wepaxos peers to each other',
    '',
    'Usage: wepaxos-signaling [flags]',
    '',
    ...rows.map(({ left, right }) => left.padEnd(width) + right),
    '',
    `Each flag has an environment variable, which the flag overrides: ${flagOf('port')} is ${variableOf('port')}.`,
    '',
  ].join('\n')
}

/** The table of the README. */
export function optionsMarkdown(): string {
  const rows = optionNames.map((name) => {
    const initial = initialText(name)
    const cells = [`\`${flagOf(name)}\``, `\`${variableOf(name)}\``, initial === '' ? 'none' : `\`${initial}\``]
    return `| ${[...cells, optionTable[name].help].join(' | ')} |`
  })
  return ['| flag | environment variable | default | what it is |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function initialText(name: OptionName): string {
  return String(optionTable[name].initial)
}

function resolve(
  read: (name: OptionName) => { readonly writtenAs: string; readonly value: unknown },
): SignalingOptions {
  const values = optionNames.map((name) => {
    const spec: OptionSpec<unknown> = optionTable[name]
    const { writtenAs, value } = read(name)
    if (value === undefined) return [name, spec.initial]
    if (!spec.accepts(value)) throw new OptionError(writtenAs, `expected ${spec.expects}, got ${shown(value)}`)
    return [name, value]
  })
  // Each value passed the check of its own row just now.
  const options = Object.fromEntries(values) as SignalingOptions
  checkTogether(options)
  return options
}

/** What rows ask of each other. */
function checkTogether(options: SignalingOptions): void {
  const { cert, key, path, yWebrtcPath, turnSecretFile, turnUrls } = options
  const { jwtSecretFile, jwtJwks, jwtIssuer, jwtAudience } = options
  if ((cert === '') !== (key === ''))
    throw new OptionError(cert === '' ? 'key' : 'cert', 'expected cert and key together')
  if (yWebrtcPath === path) throw new OptionError('yWebrtcPath', 'expected another path than that of wire v1')
  if (jwtSecretFile !== '' && jwtJwks !== '') throw new OptionError('jwtJwks', 'expected it without jwtSecretFile')
  if (jwtSecretFile === '' && jwtJwks === '' && (jwtIssuer !== '' || jwtAudience !== '')) {
    throw new OptionError(jwtIssuer === '' ? 'jwtAudience' : 'jwtIssuer', 'expected jwtSecretFile or jwtJwks with it')
  }
  if ((turnSecretFile === '') !== (turnUrls.length === 0)) {
    throw new OptionError(
      turnUrls.length === 0 ? 'turnSecretFile' : 'turnUrls',
      'expected turnSecretFile and turnUrls together',
    )
  }
}

/** An empty text, or a list of nothing but commas. */
function isNothing(name: OptionName, text: string): boolean {
  const value = optionTable[name].fromText(text)
  return value === '' || (Array.isArray(value) && value.length === 0)
}

function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(optionTable, name)
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? typeof value
  return json.length > 100 ? `${json.slice(0, 100)}…` : json
}

function isAddressOrSubnet(entry: string): boolean {
  const [address = '', prefix, ...more] = entry.split('/')
  const version = isIP(address)
  if (version === 0 || more.length > 0) return false
  return prefix === undefined || (/^[0-9]{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128))
}
