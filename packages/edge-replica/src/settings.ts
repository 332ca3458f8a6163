// From the command's options to what a replica is run with: reads the files that they name, the invite and the state
// machine's module. What is wrong with one of them is the operator's to mend, so all of it is an OptionError.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Commands, kv, type MachineDefinition, type Queries, WepaxosError } from '@wepaxos/core'
import { formatInvite, type Invite, parseInvite } from '@wepaxos/webrtc-transport'
import { type EdgeOptions, OptionError } from './options.ts'

export interface Settings {
  /** The fragment. */
  readonly invite: string
  readonly iceServers: readonly RTCIceServer[]
  readonly machine: MachineDefinition<Commands, Queries>
  readonly http: { readonly host: string; readonly port: number } | undefined
  /** What must never be shown: see log.ts. */
  readonly secrets: readonly string[]
}

/** Paths are seen from `folder`. Throws OptionError. */
export async function readSettings(options: EdgeOptions, folder: string): Promise<Settings> {
  const invite = await readInvite(options, folder)
  const servers = await readIceFile(options.iceFile, folder)
  const machine = options.machine === '' ? kv() : await loadMachine(options.machine, folder)
  const fragment = formatInvite(invite)
  return {
    invite: fragment,
    iceServers: [...options.ice.map((urls) => ({ urls })), ...servers],
    // What its commands and queries take is checked by the machine itself; here nobody calls them.
    machine: machine as MachineDefinition<Commands, Queries>,
    http: httpAddress(options.http),
    secrets: [
      fragment.slice(fragment.lastIndexOf('.') + 1),
      ...urlSecrets(options.signaling),
      ...servers.flatMap(({ credential }) => (typeof credential === 'string' ? [credential] : [])),
    ],
  }
}

async function readInvite({ invite, inviteFile, role }: EdgeOptions, folder: string): Promise<Invite> {
  const flag = inviteFile === '' ? '--invite' : '--invite-file'
  const text = inviteFile === '' ? invite : await readText(flag, inviteFile, folder)
  let parsed: Invite
  try {
    parsed = parseInvite(text)
  } catch (error) {
    if (!(error instanceof WepaxosError)) throw error
    throw new OptionError(flag, error.message)
  }
  if (parsed.role === 'reader' && role === 'voter') {
    throw new OptionError(flag, "this is a reader's invite, with which nobody votes: use --role observer")
  }
  return parsed
}

async function readIceFile(path: string, folder: string): Promise<readonly RTCIceServer[]> {
  if (path === '') return []
  const text = await readText('--ice-file', path, folder)
  let servers: unknown
  try {
    servers = JSON.parse(text)
  } catch {
    // The parser's message would repeat a piece of the file.
    throw new OptionError('--ice-file', 'is not JSON')
  }
  if (!Array.isArray(servers) || !servers.every(isIceServer)) {
    throw new OptionError('--ice-file', 'expected an array of {"urls": "turn:…", "username": "…", "credential": "…"}')
  }
  return servers
}

function isIceServer(value: unknown): value is RTCIceServer {
  if (typeof value !== 'object' || value === null || !('urls' in value)) return false
  const urls: unknown[] = Array.isArray(value.urls) ? value.urls : [value.urls]
  const isText = (name: 'username' | 'credential') =>
    !(name in value) || typeof (value as Record<string, unknown>)[name] === 'string'
  const areUrls = urls.length > 0 && urls.every((url) => typeof url === 'string' && /^(?:stuns?|turns?):\S+$/.test(url))
  return areUrls && isText('username') && isText('credential')
}

async function readText(flag: string, path: string, folder: string): Promise<string> {
  try {
    return await readFile(resolve(folder, path), 'utf8')
  } catch (error) {
    throw new OptionError(flag, error instanceof Error ? error.message : 'can not be read')
  }
}

async function loadMachine(name: string, folder: string): Promise<MachineDefinition<never, never>> {
  let module: object
  try {
    const isPath = name.startsWith('.') || name.startsWith('/')
    // A package's name is looked up as a program in `folder` would.
    const file = isPath ? resolve(folder, name) : createRequire(resolve(folder, 'program.js')).resolve(name)
    module = await import(pathToFileURL(file).href)
  } catch (error) {
    throw new OptionError('--machine', `can not be loaded: ${error instanceof Error ? error.message : String(error)}`)
  }
  const exported: unknown = 'default' in module ? module.default : undefined
  const machine: unknown = typeof exported === 'function' ? exported() : exported
  if (isMachine(machine)) return machine
  throw new OptionError('--machine', 'expected a default export made by defineMachine, or a function that returns one')
}

/** openReplica checks the rest of it. */
function isMachine(value: unknown): value is MachineDefinition<never, never> {
  if (typeof value !== 'object' || value === null) return false
  return 'name' in value && 'version' in value && 'commands' in value && 'queries' in value
}

function httpAddress(text: string): Settings['http'] {
  if (text === 'off') return undefined
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon)
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(colon + 1)) }
}

/** A signaling server may be told who comes by the address's password or its query. */
function urlSecrets(address: string): readonly string[] {
  const { password, search } = new URL(address)
  return [decodeURIComponent(password), password, search.slice(1)].filter((text) => text.length > 3)
}
