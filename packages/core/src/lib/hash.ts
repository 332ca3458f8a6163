// A fast hash of strings, for indexes. Not for anything that an adversary must not forge.

/** FNV-1a over UTF-16 code units with a final mix, folded to 30 bits: a small integer in every JavaScript engine. */
export function hashString(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  hash ^= hash >>> 12
  return hash >>> 2
}
