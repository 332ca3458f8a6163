// SHA-256 at once, without a promise: WebCrypto's digest is asynchronous, and a state hash must belong to one state.
import { sha256 } from '@noble/hashes/sha2.js'

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** SHA-256 of `bytes` as 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of sha256(bytes)) text += hexOfByte[byte]
  return text
}
