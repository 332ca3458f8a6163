/** Kinds of links that are measured beside each other. */
export const linkKinds = ['simple-peer', 'plain', 'broadcast'] as const
export type SpeedLinkKind = (typeof linkKinds)[number]

/** What one connection took. */
export interface LinkSpeed {
  readonly connectMs: number
  readonly roundTripsMs: readonly number[]
  readonly bytesPerSecond: number
}
