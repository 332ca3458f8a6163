// Which certificates the two ends of a WebRTC connection have shown each other, for the proof that is bound to them.
import type { LinkFingerprints } from './peer-link.ts'

/** Of an open connection. Rejects where it can not tell without doubt. */
export async function certificateFingerprints(connection: RTCPeerConnection): Promise<LinkFingerprints> {
  // The own description was written by this browser and has passed nobody else's hands.
  const own = onlyFingerprint(connection.localDescription)
  const [certificate] = connection.sctp?.transport.getRemoteCertificates?.() ?? []
  if (certificate === undefined) {
    // Firefox does not have it. It does check the certificate against the description; only one that names a single
    // fingerprint says which one it was.
    return { own, theirs: onlyFingerprint(connection.remoteDescription) }
  }
  return { own, theirs: hex(await crypto.subtle.digest('SHA-256', certificate)) }
}

/** All SHA-256 fingerprints that a description names, each once, as lower case hex without colons. */
export function describedFingerprints(sdp: string): readonly string[] {
  const found = [...sdp.matchAll(/^a=fingerprint:(\S+) ([0-9a-f:]+)\s*$/gim)]
  return [
    ...new Set(
      found.map(([, hash = '', value = '']) =>
        hash.toLowerCase() === 'sha-256' ? value.toLowerCase().replaceAll(':', '') : `not sha-256: ${hash}`,
      ),
    ),
  ]
}

function onlyFingerprint(description: RTCSessionDescription | null): string {
  const [fingerprint, ...more] = describedFingerprints(description?.sdp ?? '')
  if (fingerprint !== undefined && more.length === 0 && /^[0-9a-f]{64}$/.test(fingerprint)) return fingerprint
  throw new Error('a description that does not name exactly one SHA-256 fingerprint')
}

function hex(digest: ArrayBuffer): string {
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
