// Branded types: a value that only one checked place can make, and that is elsewhere only passed on.

declare const brand: unique symbol

/** `Base`, told apart by the compiler from every other value of the same shape. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }
