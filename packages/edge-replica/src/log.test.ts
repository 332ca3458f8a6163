import { WepaxosError } from '@wepaxos/core'
import { describe, expect, it } from 'vitest'
import { jsonLog, type LogRecord, loggerOf } from './log.ts'
import type { EdgeOptions } from './options.ts'

const at = new Date('2026-01-02T03:04:05.678Z')

function linesOf(
  records: readonly LogRecord[],
  { level = 'debug', secrets = [] }: { level?: EdgeOptions['logLevel']; secrets?: readonly string[] } = {},
): readonly string[] {
  const lines: string[] = []
  const log = jsonLog({ write: (line) => void lines.push(line), level, secrets, now: () => at })
  for (const record of records) log(record)
  return lines
}

describe('the log', () => {
  it('is one JSON object a line, with its time', () => {
    expect(linesOf([{ event: 'opened', level: 'info', partition: 'a\nb' }])).toEqual([
      '{"event":"opened","level":"info","time":"2026-01-02T03:04:05.678Z","partition":"a\\nb"}\n',
    ])
  })

  it.each([
    ['debug', 3],
    ['info', 2],
    ['warn', 1],
    ['silent', 0],
  ] as const)('of level %s holds %i of one record of each level', (level, count) => {
    const records = (['debug', 'info', 'warn'] as const).map((own) => ({ event: 'x', level: own }))
    expect(linesOf(records, { level })).toHaveLength(count)
  })

  it('shows errors with their code, their details and their cause', () => {
    const cause = new Error('no space left')
    const error = new WepaxosError('StorageFailed', 'the disk is full', { reason: 'quota' }, cause)
    const [line = ''] = linesOf([{ event: 'failed', level: 'warn', error }])
    expect(JSON.parse(line).error).toEqual({
      code: 'StorageFailed',
      message: 'the disk is full',
      details: { reason: 'quota' },
      cause: { message: 'no space left' },
    })
  })

  it('holds no secret, wherever in a record it stands, also one that JSON escapes', () => {
    const secrets = ['s3cret', 'quo"te\\d']
    const record = {
      event: 'note',
      level: 'warn',
      link: 'https://app.example/#v1.w.s3cret',
      'key s3cret': 1,
      error: new WepaxosError('InvalidInvite', 'not s3cret', { list: ['quo"te\\d', { deep: 's3cret' }] }),
    } as const
    const [line = ''] = linesOf([record], { secrets })
    expect(line).not.toContain('s3cret')
    expect(line).not.toContain('quo')
    expect(JSON.parse(line)).toMatchObject({ link: 'https://app.example/#v1.w.[secret]' })
  })

  it('does not stop at facts that are no JSON', () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    const [big = '', round = ''] = linesOf([
      { event: 'a', level: 'info', big: 5n, bytes: new Uint8Array(3) },
      { event: 'b', level: 'info', circle },
    ])
    expect(JSON.parse(big)).toMatchObject({ big: '5', bytes: '3 bytes' })
    expect(JSON.parse(round)).toMatchObject({ event: 'b', level: 'info' })
  })
})

describe('loggerOf', () => {
  it('passes on what the core says; its facts can not pretend to be another event', () => {
    const records: LogRecord[] = []
    const logger = loggerOf((record) => void records.push(record), { partition: 'p' })
    logger.warn('refused: garbage', { peer: 'x', event: 'stopped', level: 'info' })
    expect(records).toEqual([
      { peer: 'x', partition: 'p', event: 'warning', level: 'warn', message: 'refused: garbage' },
    ])
  })
})
