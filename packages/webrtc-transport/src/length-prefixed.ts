// One byte string for a list of texts and bytes, for what is authenticated, signed or hashed.

/**
 * Each part behind its length in four bytes: no two lists of texts give the same bytes. (A text and its UTF-8 do: which part
 * is which is for the label in front to say.)
 */
export function lengthPrefixed(parts: readonly (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const encoded = parts.map((part) => (typeof part === 'string' ? new TextEncoder().encode(part) : part))
  const bytes = new Uint8Array(encoded.reduce((sum, part) => sum + 4 + part.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const part of encoded) {
    view.setUint32(at, part.length)
    bytes.set(part, at + 4)
    at += 4 + part.length
  }
  return bytes
}
