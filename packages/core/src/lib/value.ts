// The values that commands carry, queries return and the replicated store keeps: JSON, plus bytes.

/** JSON plus `Uint8Array`. Numbers are finite; `undefined` does not occur. */
export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | ValueObject

/** An object of values; its own enumerable string keys count, in sorted order. */
export interface ValueObject {
  readonly [key: string]: Value
}
