// A browser whose WebCrypto does not know Ed25519: Chrome before 137, Firefox before 129.

let isOld = false
/** Which argument names the algorithm. */
const asked = { importKey: 2, generateKey: 0 } as const
for (const name of ['importKey', 'generateKey'] as const) {
  const { subtle } = crypto
  const original = subtle[name] as (...parameters: unknown[]) => Promise<unknown>
  Object.defineProperty(subtle, name, {
    configurable: true,
    value: (...parameters: unknown[]) =>
      isOld && parameters[asked[name]] === 'Ed25519'
        ? Promise.reject(new DOMException('Algorithm: Unrecognized name', 'NotSupportedError'))
        : original.apply(subtle, parameters),
  })
}

/** From now on no page of this process can make, load or check keys of Ed25519, until the returned function is called. */
export function forgetEd25519(): () => void {
  isOld = true
  return () => {
    isOld = false
  }
}
