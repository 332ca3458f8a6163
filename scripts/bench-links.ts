// What a link costs with nothing upon it, by its kind: one connection of each kind in turns, both ends in one page of Chromium.
import { type Report, rounded, twoPlaces } from '../packages/core/bench/report.ts'
import { Profile } from './soak/chromium.ts'
import { type LinkSpeed, linkKinds, type SpeedLinkKind } from './soak-links/link-kinds.ts'
import { serveLinkPages } from './soak-links/serve-link-pages.ts'

export interface LinksOptions {
  /** Connections of each kind. */
  readonly connections: number
  /** Of each connection. */
  readonly roundTrips: number
  /** Of 16 KiB, on each connection. */
  readonly frames: number
}

/** About what a command takes. */
const bytes = 100

export async function benchLinks({ connections, roundTrips, frames }: LinksOptions): Promise<Report> {
  const measured = new Map<SpeedLinkKind, LinkSpeed[]>(linkKinds.map((kind) => [kind, []]))
  const pages = await serveLinkPages()
  const profile = await Profile.create()
  try {
    const page = await profile.newPage()
    await page.goto(`${pages.url}speed.html`)
    await page.waitForFunction(() => window.linkSpeed !== undefined)
    // The first round is for the page to become warm.
    for (let round = 0; round <= connections; round += 1) {
      for (const kind of linkKinds) {
        const speed = await page.evaluate(
          async ([kind, roundTrips, bytes, frames]) => {
            if (window.linkSpeed === undefined) throw new Error('this page measures no links')
            return await window.linkSpeed(kind, roundTrips, bytes, frames)
          },
          [kind, roundTrips, bytes, frames] as const,
        )
        if (round > 0) measured.get(kind)?.push(speed)
      }
    }
  } finally {
    await profile.remove()
    await pages.close()
  }
  const rows = [...measured].map(([kind, speeds]) => {
    const connect = ascending(speeds.map(({ connectMs }) => connectMs))
    const roundTrip = ascending(speeds.flatMap(({ roundTripsMs }) => roundTripsMs))
    const stream = ascending(speeds.map(({ bytesPerSecond }) => bytesPerSecond / 1e6))
    return {
      kind,
      connectMs: at(connect, 0.5),
      connectMsP95: at(connect, 0.95),
      roundTripMs: at(roundTrip, 0.5),
      roundTripMsP95: at(roundTrip, 0.95),
      megabytesPerSecond: at(stream, 0.5),
    }
  })
  return {
    facts: new Map(),
    tables: [
      {
        bench: 'links',
        title: `Links by kind, both ends in one page; ${connections} connections each, ${roundTrips} round trips of ${bytes} bytes and ${frames} frames of 16 KiB on each.`,
        columns: ['', 'open after ms, p50', 'p95', 'round trip ms, p50', 'p95', 'MB/s'],
        rows: rows.map(({ kind, ...figures }) => [kind, ...Object.values(figures).map(twoPlaces)]),
        data: {
          connections,
          ...Object.fromEntries(
            rows.map(({ kind, ...figures }) => [
              kind,
              Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, rounded(figure)])),
            ]),
          ),
        },
      },
    ],
  }
}

function ascending(figures: readonly number[]): readonly number[] {
  return figures.toSorted((left, right) => left - right)
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
