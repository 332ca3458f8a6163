// Base64url without padding (RFC 4648, section 5): how invites, room ids, nonces and sealed bytes are written as text.

/** The text that stands for `bytes`: only letters, digits, `-` and `_`. */
export function encodeBase64Url(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** The bytes behind `text`, or undefined where `text` is not exactly what `encodeBase64Url` would have written. */
export function decodeBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  const bytes = new Uint8Array(binary.length)
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index)
  // Unused bits at the end could hold anything: one value has one text, or comparing texts would not compare values.
  return encodeBase64Url(bytes) === text ? bytes : undefined
}

/** `byteLength` random bytes as text, for ids, sessions and nonces. */
export function randomText(byteLength: number): string {
  return encodeBase64Url(crypto.getRandomValues(new Uint8Array(byteLength)))
}
