// How a page measures a rate: so many at a time, until the time is over.

export async function perSecond(
  inFlight: number,
  forMs: number,
  one: (number: number) => Promise<unknown>,
): Promise<number> {
  const before = performance.now()
  let [started, done] = [0, 0]
  const line = async () => {
    while (performance.now() - before < forMs) {
      await one(started++)
      done += 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, line))
  return (1_000 * done) / (performance.now() - before)
}
