import { expect, test } from 'vitest'
import { CookieJar } from '../../../client/acp/cookie-jar.js'

const url = new URL('http://agents.example.com/acp')

function jarOf(...headers: string[]): CookieJar {
  const jar = new CookieJar()
  jar.store(headers, url)
  return jar
}

test.each([
  ['a=1; Path=/acp; HttpOnly; SameSite=Strict', 'a=1'],
  ['a=1', 'a=1'],
  ['a=; Path=/', 'a='],
  ['a=b=c', 'a=b=c'],
  ['a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'a=1'],
  ['a=1; Path=/other', undefined],
  ['a=1; Path=/ac', undefined],
  ['a=1; Secure', undefined],
  ['a=1; Max-Age=0', undefined],
  ['a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT', undefined],
  ['no pair', undefined],
  ['=1', undefined],
  ['a=\u0007', undefined],
  [`a=${'x'.repeat(5_000)}`, undefined],
])('the cookie %s is sent as %s', (header, sent) => {
  expect(jarOf(header).headerFor(url)).toBe(sent)
})

test('a later cookie of the same name and path replaces the first, and an expired one removes it', () => {
  const jar = jarOf('a=1; Path=/acp', 'b=2', 'a=3; Path=/acp')
  expect(jar.headerFor(url)).toBe('a=3; b=2')
  jar.store('a=; Path=/acp; Max-Age=0', url)
  expect(jar.headerFor(url)).toBe('b=2')
})

test('a cookie ends with its Max-Age', () => {
  let time = 1_000
  const jar = new CookieJar(() => time)
  jar.store('a=1; Max-Age=60', url)
  time += 59_999
  expect(jar.headerFor(url)).toBe('a=1')
  time += 1
  expect(jar.headerFor(url)).toBeUndefined()
})

test('a secure cookie of an encrypted server is sent to it', () => {
  const jar = new CookieJar()
  const secure = new URL('wss://agents.example.com/acp')
  jar.store('a=1; Secure', secure)
  expect(jar.headerFor(secure)).toBe('a=1')
})

test('the jar keeps 50 cookies, the newest ones', () => {
  const jar = jarOf(...Array.from({ length: 60 }, (_, index) => `c${index}=1`))
  const names = jar.headerFor(url)?.split('; ')
  expect(names).toHaveLength(50)
  expect(names?.[0]).toBe('c10=1')
})
