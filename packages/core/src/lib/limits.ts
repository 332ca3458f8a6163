// How large things may be. All replicas must agree on these, or one would refuse what another takes: changing a number
// here is a change of the wire format.

/** One key of the store, as UTF-8. */
export const keyBytesMax = 1024
/** One value of the store, in its canonical bytes. */
export const valueBytesMax = 1 << 20
/** How deep values nest: a scalar has depth 0. */
export const valueDepthMax = 64
/** The arguments of one command, encoded: room for one value of the largest size, or many smaller ones. */
export const commandBytesMax = 2 << 20
/** What a command returns, encoded. */
export const resultBytesMax = 2 << 20
/** How many keys one command declares; beyond that it declares everything. */
export const footprintAccessesMax = 64
/** How many arguments a command takes. */
export const argumentsMax = 16
