// That the files which bring the server to an operator fit the package that they bring.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { optionTable, variableOf } from './options.ts'

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
const variables = new Set(Object.keys(optionTable).map((name) => variableOf(name as keyof typeof optionTable)))

describe('the Dockerfile', () => {
  const dockerfile = read('Dockerfile')
  const lastStage = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))

  it('builds with the pnpm of the workspace', () => {
    const { packageManager } = JSON.parse(read('../package.json')) as { readonly packageManager: string }
    expect(dockerfile).toContain(`npm install --global ${packageManager}\n`)
  })

  it('runs the command of the package, as a user by number that is not root', () => {
    const { bin } = JSON.parse(read('package.json')) as { readonly bin: Readonly<Record<string, string>> }
    const command = bin['wepaxos-signaling']?.replace('./', '/app/')
    expect(lastStage).toContain(`ENTRYPOINT ["node", "${command}"]`)
    expect(lastStage).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m)
  })
})

describe('each environment variable', () => {
  it.each(['Dockerfile', 'wepaxos-signaling.service', 'README.md'])('of %s is one of the option table', (file) => {
    const named = [...read(file).matchAll(/WEPAXOS_SIGNALING_[A-Z_]*[A-Z]/g)].map(([name]) => name)
    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !variables.has(name))).toEqual([])
  })
})

describe('the systemd unit', () => {
  it('gives the server longer to stop than it takes to drain', () => {
    const [, seconds] = /^TimeoutStopSec=(\d+)$/m.exec(read('wepaxos-signaling.service')) ?? []
    expect(Number(seconds) * 1_000).toBeGreaterThan(optionTable.drainMs.initial * 2)
  })

  it('lets it have a file for each socket, and some', () => {
    const [, files] = /^LimitNOFILE=(\d+)$/m.exec(read('wepaxos-signaling.service')) ?? []
    expect(Number(files)).toBeGreaterThan(optionTable.socketsMax.initial * 2)
  })
})
