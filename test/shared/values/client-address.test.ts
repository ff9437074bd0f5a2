import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { createAddressReader } from '../../../shared/values/client-address.js'

function request(remoteAddress: string | undefined, headers: Record<string, string> = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage // all that the reader reads
}

const proxies = ['10.0.0.0/8', '127.0.0.1', 'fd00::/8', '::1']

test.each<[string, string | undefined, Record<string, string>, string | undefined]>([
  ['the peer, if it is no proxy', '192.0.2.1', { 'x-forwarded-for': '198.51.100.1' }, '192.0.2.1'],
  ['the peer, if the proxy names nobody', '10.0.0.1', {}, '10.0.0.1'],
  ['the last entry of a proxy', '10.0.0.1', { 'x-forwarded-for': '6.6.6.6, 198.51.100.1' }, '198.51.100.1'],
  [
    'the last entry that is no proxy',
    '10.0.0.1',
    { 'x-forwarded-for': '198.51.100.1, 10.0.0.2, 10.0.0.3' },
    '198.51.100.1',
  ],
  ['the first entry, if all are proxies', '10.0.0.1', { 'x-forwarded-for': '10.0.0.9,10.0.0.2' }, '10.0.0.9'],
  ['the peer before text that is no address', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1, unknown' }, '10.0.0.1'],
  ['an entry with a port', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1:4711' }, '198.51.100.1'],
  ['an entry of IPv6', '::ffff:10.0.0.1', { 'x-forwarded-for': '2001:db8::1' }, '2001:db8::1'],
  ['an entry of IPv6 in brackets', 'fd00::1', { 'x-forwarded-for': '[2001:db8::1]:443' }, '2001:db8::1'],
  ['Forwarded', '::1', { forwarded: 'for=6.6.6.6, proto=https;For="[2001:db8::7]:80"' }, '2001:db8::7'],
  [
    'X-Forwarded-For before Forwarded',
    '::1',
    { forwarded: 'for=6.6.6.6', 'x-forwarded-for': '192.0.2.9' },
    '192.0.2.9',
  ],
  ['nothing without a socket', undefined, { 'x-forwarded-for': '192.0.2.9' }, undefined],
])('the address of a client is %s', (_, peer, headers, expected) => {
  expect(createAddressReader(proxies)(request(peer, headers))).toBe(expected)
})

test('without trusted proxies no header counts', () => {
  const headers = { 'x-forwarded-for': '198.51.100.1', forwarded: 'for=198.51.100.1' }
  expect(createAddressReader([])(request('::ffff:192.0.2.1', headers))).toBe('192.0.2.1')
})

test('a chain of made-up proxies ends', () => {
  const headers = { 'x-forwarded-for': Array.from({ length: 5_000 }, () => '10.0.0.1').join(',') }
  expect(createAddressReader(proxies)(request('10.0.0.2', headers))).toBe('10.0.0.1')
})

test.each(['10.0.0.0/33', 'example.com', '10.0.0.0/x', '::/129'])('%s is no network', text => {
  expect(() => createAddressReader([text])).toThrow()
})
