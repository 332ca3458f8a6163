// The one table of the command's options: flags, environment variables, their checks, the text of `--help` and the table
// in the README all come from here. Files that options name are read in settings.ts.

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
  /** What was given may hold a secret: no error repeats it. */
  readonly isSecret: boolean
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
    isSecret: false,
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
  isSecret = false,
): OptionSpec<string> {
  return {
    initial,
    placeholder,
    expects,
    help,
    isList: false,
    isSecret,
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
    isSecret: false,
    fromText: (given) => given,
    accepts: (value): value is Choice => choices.some((one) => one === value),
  }
}

function list(
  initial: readonly string[],
  entry: RegExp,
  placeholder: string,
  expects: string,
  help: string,
): OptionSpec<readonly string[]> {
  return {
    initial,
    placeholder,
    expects,
    help,
    isList: true,
    isSecret: false,
    fromText: (given) =>
      given
        .split(',')
        .map((one) => one.trim())
        .filter((one) => one !== ''),
    accepts: (value): value is readonly string[] =>
      Array.isArray(value) && value.every((one) => typeof one === 'string' && entry.test(one)),
  }
}

/** A file's path; nothing by default. */
function file(help: string): OptionSpec<string> {
  return text('', /^[^\0]{0,4096}$/, 'FILE', "a file's path", help)
}

export const optionTable = {
  invite: text(
    '',
    /^[^\0]{0,4096}$/,
    'LINK',
    'an invite link',
    "the room's invite: the whole link or its fragment (other users of the machine can see flags: better a file)",
    true,
  ),
  inviteFile: file('file that holds the invite'),
  signaling: text(
    '',
    /^$|^wss?:\/\/[^\s]{1,2000}$/,
    'URL',
    'an address that begins with wss:// or ws://',
    "the signaling server's address",
    true,
  ),
  data: text('', /^[^\0]{0,4096}$/, 'DIR', "a folder's path", 'folder for the state, made where it is missing'),
  partition: list(
    ['demo'],
    /^[A-Za-z0-9._/-]{1,64}$/,
    'NAME,…',
    'names of 1 … 64 letters, digits, `.`, `_`, `-` or `/`',
    'state machines of the room to hold; as the application names them to openReplica',
  ),
  machine: text(
    '',
    /^[^\0]{0,4096}$/,
    'MODULE',
    'a module',
    'module whose default export is the state machine of the partitions; none given: the key-value store',
  ),
  role: choice('voter', ['voter', 'observer'], 'whether it votes, or only keeps a copy'),
  membership: choice('auto', ['auto', 'manual'], 'how seats are given; the same as in the application'),
  votersMax: integer(7, 1, 9, 'voters at most; the same as in the application'),
  durability: choice(
    'strict',
    ['strict', 'relaxed'],
    'what an answered command survives here: the loss of power, or only the end of the process',
  ),
  http: text(
    '127.0.0.1:9464',
    /^(?:off|(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255}):[0-9]{1,5})$/,
    'HOST:PORT|off',
    'HOST:PORT such as 127.0.0.1:9464, or off',
    'where health and metrics are answered; port 0 takes a free one',
  ),
  ice: list(
    [],
    /^(?:stuns?|turns?):[^\s,]{1,500}$/,
    'URL,…',
    'addresses such as stun:stun.example:3478',
    'STUN and TURN servers without credentials',
  ),
  iceFile: file('file with a JSON array of {urls, username, credential}: STUN and TURN servers with credentials'),
  shutdownMs: integer(10_000, 100, 600_000, 'on SIGTERM: how long a clean end may take'),
  logLevel: choice('info', ['debug', 'info', 'warn', 'silent'], 'what is logged'),
} as const

type OptionTable = typeof optionTable
export type OptionName = keyof OptionTable
type ValueOf<Spec> = Spec extends OptionSpec<infer Value> ? Value : never

/** Every option with a checked value. */
export type EdgeOptions = { readonly [Name in OptionName]: ValueOf<OptionTable[Name]> }

const optionNames = Object.keys(optionTable) as readonly OptionName[]

/** An option that is not one, or has a value that it can not have. */
export class OptionError extends Error {
  readonly code = 'InvalidArgument'
  /** The option as the caller wrote it: a flag or an environment variable. */
  readonly option: string

  constructor(option: string, problem: string) {
    super(`${option}: ${problem}`)
    this.name = 'OptionError'
    this.option = option
  }
}

export type CommandLine =
  | { readonly command: 'help' }
  | { readonly command: 'version' }
  | { readonly command: 'run'; readonly options: EdgeOptions }

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
    if (name === undefined) throw unknownWord(flag)
    const value = equals < 0 ? rest.shift() : word.slice(equals + 1)
    if (value === undefined || (equals < 0 && value.startsWith('--'))) throw new OptionError(flag, 'needs a value')
    // Nothing at all, as a script's empty variable gives it, would take back what the environment says.
    if (value === '') throw new OptionError(flag, 'needs a value')
    const earlier = flags.get(name)
    if (earlier !== undefined && !optionTable[name].isList) throw new OptionError(flag, 'given twice')
    flags.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  const values = optionNames.map((name) => {
    const spec: OptionSpec<unknown> = optionTable[name]
    const flag = flags.get(name)
    const variable = environment[variableOf(name)]
    const given = flag ?? (variable === '' ? undefined : variable)
    if (given === undefined) return [name, spec.initial]
    const value = spec.fromText(given)
    if (spec.accepts(value)) return [name, value]
    const writtenAs = flag === undefined ? variableOf(name) : flagOf(name)
    throw new OptionError(writtenAs, `expected ${spec.expects}, got ${spec.isSecret ? 'something else' : shown(value)}`)
  })
  // Each value passed the check of its own row just now.
  const options = Object.fromEntries(values) as EdgeOptions
  checkTogether(options)
  return { command: 'run', options }
}

export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

export function variableOf(name: OptionName): string {
  return `WEPAXOS_EDGE_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
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
    'wepaxos-edge: a replica that never sleeps, for a room of browsers',
    '',
    'Usage: wepaxos-edge --invite-file FILE --signaling URL --data DIR [flags]',
    '',
    ...rows.map(({ left, right }) => left.padEnd(width) + right),
    '',
    `Each flag has an environment variable, which the flag overrides: ${flagOf('data')} is ${variableOf('data')}.`,
    '',
    'Exit codes: 0 ended by a signal · 1 it failed: start it again · 2 a flag or variable is wrong · 3 the others removed it.',
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

/** What rows ask of each other, and which have no default. */
function checkTogether({ invite, inviteFile, signaling, data, partition, http }: EdgeOptions): void {
  if (invite !== '' && inviteFile !== '') throw new OptionError('--invite-file', 'expected it without --invite')
  if (invite === '' && inviteFile === '') throw new OptionError('--invite-file', 'is needed (or --invite)')
  if (signaling === '') throw new OptionError('--signaling', 'is needed')
  if (!URL.canParse(signaling)) throw new OptionError('--signaling', `expected ${optionTable.signaling.expects}`)
  if (data === '') throw new OptionError('--data', 'is needed')
  if (partition.length === 0) throw new OptionError('--partition', 'expected at least one name')
  const twice = partition.find((name, index) => partition.indexOf(name) !== index)
  if (twice !== undefined) throw new OptionError('--partition', `names ${twice} twice`)
  if (Number(http.slice(http.lastIndexOf(':') + 1)) > 65_535) {
    throw new OptionError('--http', `expected a port up to 65535, got ${shown(http)}`)
  }
}

/** A word that is no flag may be a secret whose flag was forgotten. */
function unknownWord(word: string): OptionError {
  return word.startsWith('-')
    ? new OptionError(word, 'there is no such flag (see --help)')
    : new OptionError('wepaxos-edge', 'takes flags only (see --help)')
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? typeof value
  return json.length > 100 ? `${json.slice(0, 100)}…` : json
}
