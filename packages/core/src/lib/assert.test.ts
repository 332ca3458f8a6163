import { expect, test } from 'vitest'
import { AssertionError, assert, must, unreachable } from './assert.ts'

test('assert passes what holds and throws the message for what does not', () => {
  assert(1, 'never seen')
  for (const broken of [false, 0, '', null, undefined]) {
    expect(() => assert(broken, 'the log has no gaps')).toThrow(new AssertionError('the log has no gaps'))
  }
})

test('must gives back what is there, falsy values included, and says why nothing was not expected', () => {
  expect(must(0, 'it was counted')).toBe(0)
  expect(must('', 'it was typed')).toBe('')
  expect(() => must(undefined, 'it was put there above')).toThrow('missing, although it was put there above')
  expect(() => must(null, 'it was put there above')).toThrow(AssertionError)
})

test('unreachable names what came, even if that cannot be shown as JSON', () => {
  const loop: { self?: unknown } = {}
  loop.self = loop
  expect(() => unreachable({ kind: 'new' } as never)).toThrow('{"kind":"new"}')
  expect(() => unreachable(undefined as never)).toThrow('undefined')
  expect(() => unreachable(loop as never)).toThrow(AssertionError)
})
