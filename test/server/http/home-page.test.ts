import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createHomePage, requestedUrl } from '../../../server/http/home-page.js'
import { createRoutes } from '../../../server/http/http-routes.js'

const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Routes as a control plane has them, or as a daemon: without the page. */
const routes = (home?: RequestListener) =>
  createRoutes({ mounts: {}, readiness: async () => ({}), isClosing: () => false, logger, ...(home && { home }) })

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port // it listens on TCP
}

const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'

let port: number
beforeEach(async () => {
  port = await serve(routes(createHomePage(() => 'http://127.0.0.1:4100')))
})

async function get(headers: Record<string, string> = {}, method = 'GET', at = port) {
  const sent = httpRequest({
    port: at,
    host: '127.0.0.1',
    method,
    headers: { host: `127.0.0.1:${at}`, ...headers },
  }).end()
  const [response]: [IncomingMessage] = (await once(sent, 'response')) as [IncomingMessage] // what Node documents
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) body += chunk
  return { status: response.statusCode, headers: response.headers, body }
}

describe('GET /', () => {
  test('GET / is a page with the first steps for a browser', async () => {
    const { status, headers, body } = await get({ accept: browser })
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
    expect(body).toMatch(/^<!doctype html>\n<html lang="en">/)
    for (const words of [
      'users create me',
      'keys create --user me --key-only',
      'providers add anthropic',
      'BRIDGE_ADMIN_TOKEN',
    ]) {
      expect(body).toContain(words)
    }
    expect(body).toContain(`http://127.0.0.1:${port}/bridge/anthropic`)
  })

  test('the page loads nothing: the policy forbids scripts and other places, and allows the one style', async () => {
    const { headers, body } = await get({ accept: browser })
    const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(body) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    expect(body).not.toMatch(/<script|<link|<img|<iframe|style=|\son\w+=|src=/)
  })

  test.each([
    ['*/*', 'text/plain; charset=utf-8'],
    ['', 'text/plain; charset=utf-8'],
    ['text/html;q=0, text/plain', 'text/plain; charset=utf-8'],
    ['application/json', 'application/json'],
    ['TEXT/HTML;q=0.5', 'text/html; charset=utf-8'],
  ])('for a client that accepts "%s" is %s', async (accept, type) => {
    const { status, headers, body } = await get(accept === '' ? {} : { accept })
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type })
    expect(body).toContain(`http://127.0.0.1:${port}/bridge/openai/v1`)
    if (type === 'application/json') expect(JSON.parse(body)).toMatchObject({ name: 'aibridge' })
  })

  test('other methods get 405, HEAD no body', async () => {
    expect(await get({ accept: browser }, 'POST')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
    expect(await get({ accept: browser }, 'HEAD')).toMatchObject({ status: 200, body: '' })
  })

  test('GET / is not found on a daemon', async () => {
    expect(await get({ accept: browser }, 'GET', await serve(routes()))).toMatchObject({ status: 404 })
  })
})

describe('the address on the page', () => {
  const own = 'http://127.0.0.1:4100'

  test.each([
    [{ host: 'bridge.example.com' }, 'http://bridge.example.com'],
    [{ host: 'bridge.example.com:8443', 'x-forwarded-proto': 'https' }, 'https://bridge.example.com:8443'],
    [{ host: '[::1]:4100' }, 'http://[::1]:4100'],
    [{ host: 'LOCALHOST:80' }, 'http://localhost'],
    [{ host: 'bridge.example.com', 'x-forwarded-proto': 'javascript' }, 'http://bridge.example.com'],
  ])('the address on the page is that of the request: %j', (headers, url) => {
    expect(requestedUrl({ headers }, own)).toBe(url)
  })

  test.each([
    '',
    'a b',
    'a"><script>alert(1)</script>',
    "a'",
    'user@host',
    'a/../b',
    'a?b',
    'a#b',
    '[::1',
    'a:99999',
    '..',
    `${'a'.repeat(300)}`,
  ])('the address on the page is the own one for the host "%s"', host => {
    expect(requestedUrl({ headers: { host } }, own)).toBe(own)
  })

  test('cannot bring a mark-up into the page', async () => {
    const { body } = await get({ accept: browser, host: 'a"><script>alert(1)</script>' })
    expect(body).not.toContain('alert(1)')
    expect(body).toContain('http://127.0.0.1:4100/bridge/anthropic')
  })
})
