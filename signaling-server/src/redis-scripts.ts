// What is in Redis, and the three scripts that change it, each as one step. A room is a hash: peer id → "process|session|
// resume token". A process is a key that expires unless it is set again. An id that is kept for a peer that lost its socket
// is a key with the peer's resume token that expires. Every change of a room is published on one channel. No Redis Cluster:
// the scripts look at keys of processes that they find inside the hash.
import { type CommandParser, defineScript } from 'redis'

export interface RedisKeys {
  readonly changes: string
  process(process: string): string
  /** The channel for signals to the peers of one process. */
  inbox(process: string): string
  room(room: string): string
  kept(room: string, id: string): string
}

export function redisKeys(prefix: string): RedisKeys {
  return {
    changes: `${prefix}changes`,
    process: (process) => `${prefix}process:${process}`,
    inbox: (process) => `${prefix}inbox:${process}`,
    room: (room) => `${prefix}room:${room}`,
    // No id has a slash.
    kept: (room, id) => `${prefix}kept:${room}/${id}`,
  }
}

/** A message on the channel of changes: who was changed, and, when a peer left, why. */
export interface RoomChange {
  readonly by: string
  readonly room: string
  readonly id: string
  readonly reason: string
}

/**
 * Common to claim and look. `sweep` takes out the members of processes that are no more, keeps their ids for them, and
 * returns the rest. The own process is alive, whatever became of its key: it is the one that asks.
 */
const sweep = `
local function parts(value) return string.match(value, '^([^|]*)|([^|]*)|([^|]*)$') end
local function tell(id, reason)
  redis.call('PUBLISH', changes, cjson.encode({ by = process, room = room, id = id, reason = reason }))
end
local function sweep()
  local alive = { [process] = true }
  local members = {}
  local all = redis.call('HGETALL', KEYS[1])
  for at = 1, #all, 2 do
    local owner, _, resume = parts(all[at + 1])
    -- No value of ours: somebody else's key, or another version's.
    if owner == nil then owner, resume = '', '' end
    if alive[owner] == nil then alive[owner] = redis.call('EXISTS', prefix .. 'process:' .. owner) == 1 end
    if alive[owner] then
      members[all[at]] = all[at + 1]
    else
      redis.call('HDEL', KEYS[1], all[at])
      if keptMs > 0 and resume ~= '' then redis.call('SET', prefix .. 'kept:' .. room .. '/' .. all[at], resume, 'PX', keptMs) end
      tell(all[at], 'gone')
    end
  end
  return members
end
local function list(into, members)
  for id, value in pairs(members) do into[#into + 1] = id; into[#into + 1] = value end
  return into
end
`

function parseCommand(parser: CommandParser, keys: readonly string[], args: readonly (string | number)[]): void {
  for (const key of keys) parser.pushKey(key)
  parser.push(...args.map(String))
}

function texts(reply: unknown): readonly string[] {
  if (!Array.isArray(reply)) throw new TypeError(`Redis answered a script with ${typeof reply}`)
  return reply.map(String)
}

/** As the client wants it. */
interface RoomScript {
  readonly SCRIPT: string
  readonly SHA1: string
  readonly NUMBER_OF_KEYS: number
  readonly parseCommand: typeof parseCommand
  readonly transformReply: typeof texts
}

export const redisScripts: { readonly [Name in 'claim' | 'release' | 'look']: RoomScript } = {
  /**
   * Takes an id in a room. KEYS: room, kept id. ARGV: see below. Answers [outcome] or [outcome, resume token, members…],
   * as id and value in turn.
   */
  claim: defineScript({
    NUMBER_OF_KEYS: 2,
    SCRIPT: `
local prefix, changes, process, room, id, session, resume, fresh = unpack(ARGV, 1, 8)
local membersMax, roomMs, keptMs = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
${sweep}
local members = sweep()
-- As in rooms.ts: a peer's own token binds an id that nothing binds yet.
local outcome, token = 'joined', resume ~= '' and resume or fresh
if members[id] then
  local _, _, own = parts(members[id])
  if own ~= resume then return { 'id-in-use' } end
  outcome, token = 'replaced', own
else
  local kept = redis.call('GET', KEYS[2])
  if kept and kept ~= resume then return { 'id-in-use' } end
  local count = 0
  for _ in pairs(members) do count = count + 1 end
  if count >= membersMax then return { 'room-full' } end
  if kept then token = kept end
  redis.call('DEL', KEYS[2])
end
members[id] = process .. '|' .. session .. '|' .. token
redis.call('HSET', KEYS[1], id, members[id])
redis.call('PEXPIRE', KEYS[1], roomMs)
tell(id, '')
return list({ outcome, token }, members)`,
    parseCommand,
    transformReply: texts,
  }),

  /** Gives an id back, unless it is another session's by now. KEYS: room, kept id. */
  release: defineScript({
    NUMBER_OF_KEYS: 2,
    SCRIPT: `
local changes, process, room, id, session, reason = unpack(ARGV, 1, 6)
local keptMs = tonumber(ARGV[7])
local value = redis.call('HGET', KEYS[1], id)
if not value then return {} end
local owner, current, resume = string.match(value, '^([^|]*)|([^|]*)|([^|]*)$')
if owner ~= process or current ~= session then return {} end
redis.call('HDEL', KEYS[1], id)
if keptMs > 0 then redis.call('SET', KEYS[2], resume, 'PX', keptMs) end
redis.call('PUBLISH', changes, cjson.encode({ by = process, room = room, id = id, reason = reason }))
return {}`,
    parseCommand,
    transformReply: texts,
  }),

  /**
   * Makes the room true again and says who is in it: own members that Redis lost come back, own ones that are gone go, and
   * those of dead processes go too. KEYS: room. ARGV: see below, then id, session and resume token of each own member.
   */
  look: defineScript({
    NUMBER_OF_KEYS: 1,
    SCRIPT: `
local prefix, changes, process, room = unpack(ARGV, 1, 4)
local roomMs, keptMs = tonumber(ARGV[5]), tonumber(ARGV[6])
${sweep}
local members = sweep()
local own = {}
for at = 7, #ARGV, 3 do
  local id = ARGV[at]
  own[id] = ARGV[at + 1]
  if not members[id] then
    members[id] = process .. '|' .. ARGV[at + 1] .. '|' .. ARGV[at + 2]
    redis.call('HSET', KEYS[1], id, members[id])
    redis.call('DEL', prefix .. 'kept:' .. room .. '/' .. id)
    tell(id, '')
  end
end
for id, value in pairs(members) do
  local owner, session = parts(value)
  if owner == process and own[id] ~= session then
    redis.call('HDEL', KEYS[1], id)
    members[id] = nil
    tell(id, 'gone')
  end
end
redis.call('PEXPIRE', KEYS[1], roomMs)
return list({}, members)`,
    parseCommand,
    transformReply: texts,
  }),
}
