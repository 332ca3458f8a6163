// `npm run soak -- power-cut`: what is on the disk after a power cut in the middle of a stream of commands, with strict and
// with relaxed durability. A library that is loaded into Chromium (synced-journal.c) writes down what was synced and when;
// each cut is a moment of that journal. Strict must keep every answered command; relaxed must lose some, or nothing was shown.
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createRandom, type Random } from '../../packages/core/src/lib/random.ts'
import { Profile } from './chromium.ts'
import type { StreamAnswer } from './pages/replica-page.ts'
import { clockStepMs, ReplicaTab, waitFor } from './replica-tab.ts'
import { type ServedPages, servePages } from './serve-pages.ts'
import { type NamesAre, readJournal, SyncedImage, type SyncRecord } from './synced-image.ts'

type Durability = 'strict' | 'relaxed'

/** Cuts of one browser's life. */
const cutsPerLife = 250
/** How many commands are answered in a life, for each cut of it. */
const answersPerCut = 12
const answersMin = 300
const inFlight = 16
/** Commands to an epoch: in each life the log is dropped a few times. */
const checkpointEvery = 1_000
/** Answers from long before a cut that are looked for, too; the images that are opened show all. */
const olderLookedFor = 16
/** Of relaxed durability, where it is enough to find out whether something is missing. */
const newestLookedFor = 64
/** One image of so many is opened in a browser, by the product itself. */
const openEvery = 20

interface Answer {
  readonly key: string
  readonly marker: string
  /** Steady milliseconds: the page had it by then. */
  readonly atMs: number
}

interface Life {
  readonly root: string
  readonly answers: readonly Answer[]
  readonly records: readonly SyncRecord[]
}

interface Tally {
  cuts: number
  /** Images in which an answered command was missing. */
  withLoss: number
  opened: number
  openedWithLoss: number
  /** Opened because a marker was not found. */
  openedUnclear: number
  answersChecked: number
}

/** `rounds` cuts with strict durability, and a tenth of that with relaxed. Throws when strict lost something. */
export async function soakPowerCut(rounds: number): Promise<Record<string, number>> {
  const seed = Math.floor(Math.random() * 1e9)
  console.error(`seed ${seed}`)
  const random = createRandom(seed)
  const work = await mkdtemp(join(tmpdir(), 'wepaxos-power-cut-'))
  const pages = await servePages()
  try {
    const library = compile(work)
    const strict = await cutOff(pages, library, 'strict', rounds, random)
    const relaxed = await cutOff(pages, library, 'relaxed', Math.max(20, Math.ceil(rounds / 10)), random)
    if (relaxed.openedWithLoss === 0) throw new Error('relaxed lost nothing in any cut: the cuts are none')
    return {
      seed,
      strictCuts: strict.cuts,
      strictCutsWithLoss: strict.withLoss,
      strictImagesOpened: strict.opened,
      strictImagesOpenedUnclear: strict.openedUnclear,
      strictAnswersChecked: strict.answersChecked,
      relaxedCuts: relaxed.cuts,
      relaxedCutsWithLoss: relaxed.withLoss,
      relaxedImagesOpened: relaxed.opened,
      relaxedImagesOpenedWithLoss: relaxed.openedWithLoss,
    }
  } finally {
    await pages.close()
    await rm(work, { recursive: true, force: true })
  }
}

function compile(work: string): string {
  const source = fileURLToPath(new URL('./synced-journal.c', import.meta.url))
  const library = join(work, 'synced-journal.so')
  const arguments_ = ['-shared', '-fPIC', '-O2', '-Wall', '-o', library, source, '-ldl', '-lpthread']
  let compiled = spawnSync('gcc', arguments_, { encoding: 'utf8' })
  if (compiled.error !== undefined && process.getuid?.() === 0) {
    console.error('no gcc here: installing the packages "gcc" and "libc6-dev" with apt-get …')
    const stdio = ['ignore', 2, 2] as const
    spawnSync('apt-get', ['update'], { stdio: [...stdio] })
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'gcc', 'libc6-dev'], {
      stdio: [...stdio],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
    compiled = spawnSync('gcc', arguments_, { encoding: 'utf8' })
  }
  if (compiled.error !== undefined) {
    throw new Error('gcc is needed for the library that stands between Chromium and the disk, and is not here', {
      cause: compiled.error,
    })
  }
  if (compiled.status !== 0) throw new Error(`gcc: ${compiled.stderr}`)
  return library
}

async function cutOff(
  pages: ServedPages,
  library: string,
  durability: Durability,
  cuts: number,
  random: Random,
): Promise<Tally> {
  const tally: Tally = { cuts: 0, withLoss: 0, opened: 0, openedWithLoss: 0, openedUnclear: 0, answersChecked: 0 }
  while (tally.cuts < cuts) {
    const count = Math.min(cutsPerLife, cuts - tally.cuts)
    const life = await live(pages, library, durability, Math.max(answersMin, count * answersPerCut))
    await cutLife(pages, life, durability, count, random, tally)
  }
  return tally
}

/** One browser's life with a stream of commands, from the first to its kill. */
async function live(pages: ServedPages, library: string, durability: Durability, answersWanted: number): Promise<Life> {
  let root = ''
  let journal = ''
  const environment = (folder: string) => {
    root = join(folder, 'Default', 'IndexedDB')
    journal = join(folder, 'synced')
    return { LD_PRELOAD: library, SYNCED_ROOT: root, SYNCED_JOURNAL: journal }
  }
  const profile = await Profile.create({ environment })
  try {
    const tab = await ReplicaTab.open(await profile.newPage(), replicaUrl(pages, durability))
    await tab.page.evaluate((inFlight) => {
      // Ends with the page.
      window.soak?.stream(inFlight).catch((error: unknown) => {
        window.soakFailure = String(error)
      })
    }, inFlight)
    await waitFor(`${answersWanted} answers`, 300_000, async () => {
      const { count, failure } = await tab.page.evaluate(() => {
        return { count: window.soak?.answers().length ?? 0, failure: window.soakFailure }
      })
      if (failure !== undefined) throw new Error(failure)
      return count >= answersWanted ? true : undefined
    })
    const answers: readonly StreamAnswer[] = await tab.page.evaluate(() => [...(window.soak?.answers() ?? [])])
    await profile.killBrowser()
    const records = await readJournal(journal)
    if (records.length === 0) throw new Error('Chromium synced nothing that the library saw')
    return {
      root,
      answers: answers.map(({ key, marker, toMs }) => ({ key, marker, atMs: tab.originMs + toMs + clockStepMs })),
      records,
    }
  } finally {
    await profile.remove()
  }
}

function replicaUrl(pages: ServedPages, durability: Durability): string {
  return `${pages.url}replica.html?room=lone&durability=${durability}&checkpointEvery=${checkpointEvery}`
}

interface Cut {
  readonly atMs: number
  readonly names: NamesAre
}

async function cutLife(
  pages: ServedPages,
  life: Life,
  durability: Durability,
  count: number,
  random: Random,
  tally: Tally,
): Promise<void> {
  const images = { 'at once': new SyncedImage('at once'), 'with the next sync': new SyncedImage('with the next sync') }
  let applied = 0
  let answered = 0
  let checked = 0
  for (const { atMs, names } of drawCuts(life.answers, count, random)) {
    for (let next = life.records[applied]; next !== undefined && next.atMs <= atMs; next = life.records[applied]) {
      for (const image of Object.values(images)) image.apply(next)
      applied += 1
    }
    while ((life.answers[answered]?.atMs ?? Number.POSITIVE_INFINITY) <= atMs) answered += 1
    const told = life.answers.slice(0, answered)
    const fresh = durability === 'strict' ? told.slice(checked) : told.slice(-newestLookedFor)
    const older = Array.from({ length: checked > 0 ? olderLookedFor : 0 }, () => random.pick(told.slice(0, checked)))
    const image = images[names]
    const missing = [...fresh, ...older].filter(({ marker }) => !image.has(Buffer.from(marker, 'hex')))
    checked = answered
    tally.answersChecked += fresh.length + older.length
    tally.cuts += 1
    // A marker may also be hidden, where the browser compressed it or put it in two pieces: then the image is opened.
    const unclear = durability === 'strict' && missing.length > 0
    if (unclear || tally.cuts % openEvery === 0) {
      tally.opened += 1
      if (unclear) tally.openedUnclear += 1
      const lost = await lostIn(pages, life.root, image, durability, told)
      if (lost.length > 0) {
        tally.withLoss += 1
        tally.openedWithLoss += 1
      }
      if (durability === 'strict' && lost.length > 0) {
        throw new Error(
          `strict lost ${lost.length} of ${told.length} answered commands: ${lost.slice(0, 5).join(', ')} …`,
        )
      }
    } else if (missing.length > 0) {
      tally.withLoss += 1
    }
  }
}

/** In the order of time. Half of them right after an answer: the moment in which a promise too many would show. */
function drawCuts(answers: readonly Answer[], count: number, random: Random): Cut[] {
  const [first, last] = [answers[0], answers.at(-1)]
  if (first === undefined || last === undefined) throw new Error('nothing was answered')
  const cuts = Array.from({ length: count }, (): Cut => {
    const atAnswer = random.chance(0.5)
    return {
      atMs: atAnswer ? random.pick(answers).atMs : first.atMs + random.next() * (last.atMs - first.atMs),
      names: random.chance(0.5) ? 'at once' : 'with the next sync',
    }
  })
  return cuts.sort((left, right) => left.atMs - right.atMs)
}

/**
 * What the product itself, in a browser on that image, does not have of what was answered. Relaxed may lose so much that the
 * disk is a lost one.
 */
async function lostIn(
  pages: ServedPages,
  root: string,
  image: SyncedImage,
  durability: Durability,
  told: readonly Answer[],
): Promise<string[]> {
  const profile = await Profile.create()
  try {
    await image.write(root, join(profile.folder, 'Default', 'IndexedDB'))
    const tab = await ReplicaTab.open(await profile.newPage(), replicaUrl(pages, durability))
    // It put a lost disk aside, and begins anew in a room where nobody else is.
    const { status } = await tab.facts()
    if (durability === 'relaxed' && status === 'joining') return told.map(({ key }) => key)
    await tab.ready()
    await tab.carriedOverDone()
    const entries = new Map(await tab.entries('stream/'))
    return told.filter(({ key, marker }) => entries.get(key) !== marker).map(({ key }) => key)
  } finally {
    await profile.remove()
  }
}
