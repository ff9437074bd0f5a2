import { getEventListeners, once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { RequestHandler } from '../../../../client/bridge/in-process/handler-fetch.js'
import { eventually } from '../../../fixtures/eventually.js'
import { leavesNothing } from '../../../fixtures/leaves-nothing.js'
import { createGate } from '../../../fixtures/provider.js'
import { fc, randomFrom } from '../../../fixtures/random.js'
import { fetchRows, type OpenedFetch } from './fetch-rows.js'

const handled: Promise<unknown>[] = []
const controllers: AbortController[] = []
const openedFetches: OpenedFetch[] = []

/** Returns a controller whose signal is checked after the test. */
function controller(): AbortController {
  const made = new AbortController()
  controllers.push(made)
  return made
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** Returns the reason that a promise rejects with. */
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    value => expect.fail(`resolved with ${String(value)}`),
    (reason: unknown) => reason,
  )

const readerOf = ({ body }: Response): ReadableStreamDefaultReader<Uint8Array> =>
  body?.getReader() ?? expect.fail('there is no body')

/** Waits for some turns of the event loop, so that an unwanted event would be seen. */
async function turns(count = 50): Promise<void> {
  while (count-- > 0) await new Promise(resolve => setImmediate(resolve))
}

describe.each(fetchRows)('$name', ({ inProcess, open }) => {
  leavesNothing()
  afterEach(async () => {
    for (const opened of openedFetches.splice(0)) await opened.close()
    // Every handler has ended.
    await Promise.allSettled(handled.splice(0))
    const left = controllers.splice(0).map(({ signal }) => getEventListeners(signal, 'abort').length)
    // Node's own fetch keeps a listener until garbage collection of the request.
    if (inProcess) expect(left.filter(listeners => listeners > 0)).toEqual([])
  })

  async function serve(handler: RequestHandler): Promise<OpenedFetch> {
    const opened = await open((request, response) => {
      const result = handler(request, response)
      if (result) handled.push(result)
      return result
    })
    openedFetches.push(opened)
    return opened
  }

  /** Serves one request with a handler and sends it. */
  async function ask(handler: RequestHandler, init?: RequestInit): Promise<Response> {
    const { fetch, url } = await serve(handler)
    return fetch(`${url}/`, init)
  }

  describe('the request', () => {
    /** Returns the request as a handler sees it. */
    async function seen(input: (url: string) => string | URL | Request, init?: RequestInit) {
      const requests: { method?: string; url?: string; headers: IncomingMessage['headers']; body: string }[] = []
      const { fetch, url } = await serve(async (request, response) => {
        const { method = '', url = '', headers } = request
        requests.push({ method, url, headers, body: await textOf(request) })
        response.end()
      })
      const response = await fetch(input(url), init)
      expect(await response.text()).toBe('')
      const [request] = requests
      if (!request) return expect.fail('the handler was not called')
      const {
        host,
        connection: _,
        'content-length': length,
        'transfer-encoding': framing,
        ...headers
      } = request.headers
      expect(host).toBe(new URL(url).host)
      return { ...request, headers, length, framing }
    }
    const defaults = {
      accept: '*/*',
      'accept-language': '*',
      'sec-fetch-mode': 'cors',
      'user-agent': 'node',
      'accept-encoding': 'gzip, deflate',
    }

    test('a request without headers has the default headers', async () => {
      expect(await seen(url => url)).toEqual({
        method: 'GET',
        url: '/',
        headers: defaults,
        body: '',
        length: undefined,
        framing: undefined,
      })
    })

    test.each([
      ['/a%2Fb/%25?q=%2F&r=a+b', '/a%2Fb/%25?q=%2F&r=a+b'],
      ['/ä b?ü=1#fragment', '/%C3%A4%20b?%C3%BC=1'],
      ['/a/../b/./c', '/b/c'],
      ['?x', '/?x'],
    ])('a request to %s has path and query %s', async (path, expected) => {
      expect((await seen(url => new URL(url + path))).url).toBe(expected)
    })

    test("the caller's headers win over the defaults", async () => {
      const headers = new Headers({ 'User-Agent': 'sdk/1', 'x-latin': 'caf\u00e9', Accept: 'application/json' })
      headers.append('x-two', 'a')
      headers.append('x-two', 'b')
      expect((await seen(url => url, { headers })).headers).toEqual({
        ...defaults,
        'user-agent': 'sdk/1',
        accept: 'application/json',
        'x-latin': 'caf\u00e9',
        'x-two': 'a, b',
      })
    })

    const bytes = () => new TextEncoder().encode('b\u00fctes')
    const stream = (...chunks: string[]) =>
      new ReadableStream({
        pull(controller) {
          const chunk = chunks.shift()
          if (chunk === undefined) controller.close()
          else controller.enqueue(new TextEncoder().encode(chunk))
        },
      })
    test.each<[string, () => RequestInit['body'], string, string | undefined, string | undefined]>([
      ['a string', () => 'str\u00efng \ud800', 'str\u00efng \ufffd', 'text/plain;charset=UTF-8', '11'],
      ['bytes', bytes, 'b\u00fctes', undefined, '6'],
      ['a part of bytes', () => bytes().subarray(3), 'tes', undefined, '3'],
      ['an ArrayBuffer', () => bytes().buffer, 'b\u00fctes', undefined, '6'],
      ['a Blob', () => new Blob(['bl', 'ob'], { type: 'a/b' }), 'blob', 'a/b', '4'],
      [
        'URLSearchParams',
        () => new URLSearchParams({ a: '\u00e4 b' }),
        'a=%C3%A4+b',
        'application/x-www-form-urlencoded;charset=UTF-8',
        '10',
      ],
      ['an empty string', () => '', '', 'text/plain;charset=UTF-8', '0'],
      ['nothing', () => null, '', undefined, '0'],
      ['a ReadableStream', () => stream('one', '', 'two'), 'onetwo', undefined, undefined],
    ])('a request has the body that is %s', async (_, body, text, type, length) => {
      const got = await seen(url => url, { method: 'POST', body: body() ?? null, duplex: 'half' })
      expect(got.body).toBe(text)
      expect(got.headers['content-type']).toBe(type)
      expect([got.length, got.framing]).toEqual(length === undefined ? [undefined, 'chunked'] : [length, undefined])
    })

    test('an empty stream is an empty body', async () => {
      expect((await seen(url => url, { method: 'POST', body: stream(), duplex: 'half' })).body).toBe('')
    })

    test('a form is sent as multipart', async () => {
      const body = new FormData()
      body.set('field', 'v\u00e4lue')
      body.set('file', new Blob(['content']), 'name.txt')
      const got = await seen(url => url, { method: 'POST', body })
      const boundary = /^multipart\/form-data; boundary=(.+)$/.exec(got.headers['content-type'] ?? '')?.[1]
      expect(boundary).toBeTypeOf('string')
      expect(got.body).toMatch(/name="field"\r\n\r\nv\u00e4lue\r\n[\s\S]*filename="name.txt"[\s\S]*\r\n\r\ncontent\r\n/)
    })

    test('a Request can be the input, and only its body is used up', async () => {
      const { signal } = controller()
      let request: Request | undefined
      const got = await seen(url => {
        request = new Request(`${url}/x`, { method: 'PUT', body: 'text', headers: { 'x-a': '1' }, signal })
        return request
      })
      expect(got).toMatchObject({ method: 'PUT', url: '/x', headers: { 'x-a': '1' }, body: 'text' })
      expect([...(request?.headers ?? [])]).toEqual([
        ['content-type', 'text/plain;charset=UTF-8'],
        ['x-a', '1'],
      ])
      expect(request).toMatchObject({ method: 'PUT', bodyUsed: true })
      expect(request?.signal.aborted).toBe(false)
      // The constructor of Request put this listener on the signal.
      controllers.length = 0
    })

    test('the second argument overrides fields of a Request', async () => {
      const got = await seen(url => new Request(url, { method: 'PUT', headers: { 'x-a': '1' } }), {
        method: 'POST',
        headers: { 'x-b': '2' },
        body: 'text',
      })
      expect(got).toMatchObject({ method: 'POST', headers: { 'x-b': '2' }, body: 'text' })
      expect(got.headers).not.toHaveProperty('x-a')
    })

    test.each(['transfer-encoding', 'keep-alive', 'upgrade', 'expect'])(
      'a request with the header %s is rejected',
      async name => {
        const handler = vi.fn()
        const error = await rejection(ask(handler, { headers: { [name]: 'x' } }))
        expect(error).toBeInstanceOf(TypeError)
        expect(error).toMatchObject({ message: 'fetch failed', cause: { message: expect.stringContaining(name) } })
        expect(handler).not.toHaveBeenCalled()
      },
    )

    test.each<[string, (url: string) => [Parameters<typeof fetch>[0], object?]]>([
      ['a relative URL', () => ['/v1/messages']],
      ['a URL with a password', () => ['http://a:b@handler.example/']],
      ['GET and a body', url => [url, { body: 'x' }]],
      ['a used Request', url => [usedRequest(url)]],
      ['a stream without duplex', url => [url, { method: 'POST', body: stream('x') }]],
      ['a signal that is none', url => [url, { signal: {} }]],
      ['a forbidden method', url => [url, { method: 'TRACE' }]],
      ['a header that is none', url => [url, { headers: { 'a b': 'c' } }]],
    ])('a call with %s rejects with a TypeError', async (_, args) => {
      const handler = vi.fn()
      const { fetch, url } = await serve(handler)
      const [input, init] = args(url)
      expect(await rejection(fetch(input, init))).toBeInstanceOf(TypeError)
      expect(handler).not.toHaveBeenCalled()
    })

    function usedRequest(url: string): Request {
      const request = new Request(url, { method: 'POST', body: 'x' })
      void request.text()
      return request
    }

    test('request and response bodies stream at the same time', async () => {
      const chunks = Array.from({ length: 64 }, (_, index) => `${index} `.repeat(10_000))
      const response = await ask((request, response) => void request.pipe(response), {
        method: 'POST',
        body: stream(...chunks),
        duplex: 'half',
      })
      expect(await response.text()).toBe(chunks.join(''))
    })

    /** Ends only when the reader cancels. */
    function endless(chunk = new Uint8Array(65_536)) {
      let pulled = 0
      let stopped = false
      const cancelled = createGate()
      const body = new ReadableStream(
        {
          async pull(controller) {
            await turns(1)
            pulled++
            if (stopped) controller.close()
            else controller.enqueue(chunk)
          },
          cancel: () => cancelled.open(),
        },
        { highWaterMark: 0 },
      )
      const stop = () => {
        stopped = true
      }
      // Node's own fetch leaves such a body open and may read on.
      const over = () => (inProcess ? cancelled.opened : stop())
      return { body, over, pulled: () => pulled }
    }

    test('a request body waits for the handler, and is cancelled if the handler ignores it', async () => {
      const { body, over, pulled } = endless()
      const gate = createGate()
      const reached = createGate()
      const responding = ask(
        async (_, response) => {
          reached.open()
          await gate.opened
          response.writeHead(413, { connection: 'close' }).end('too large')
        },
        { method: 'POST', body, duplex: 'half' },
      )
      await reached.opened
      await turns()
      // Over TCP the system's buffers fill first.
      expect(pulled()).toBeLessThan(inProcess ? 3 : 500)
      gate.open()
      const response = await responding
      expect([response.status, await response.text()]).toEqual([413, 'too large'])
      await over()
    })

    test('a request body is cancelled when the caller aborts', async () => {
      const { body, over } = endless()
      const abort = controller()
      const reached = createGate()
      const responding = ask(
        async (_, response) => {
          reached.open()
          await once(response, 'close')
        },
        { method: 'POST', body, duplex: 'half', signal: abort.signal },
      )
      await reached.opened
      const reason = new Error('enough')
      abort.abort(reason)
      expect(await rejection(responding)).toBe(reason)
      await over()
    })

    test('the handler sees a failing request body as cut off', async () => {
      const failure = new Error('no more')
      let sent = 0
      const body = new ReadableStream({
        pull(controller) {
          if (sent++ === 0) controller.enqueue(new TextEncoder().encode('some'))
          else controller.error(failure)
        },
      })
      const cut = createGate()
      const responding = ask(
        async request => {
          await textOf(request).catch((error: NodeJS.ErrnoException) => expect(error.code).toBe('ECONNRESET'))
          expect(request.complete).toBe(false)
          cut.open()
        },
        { method: 'POST', body, duplex: 'half' },
      )
      const error = await rejection(responding)
      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: 'fetch failed', cause: failure })
      // Node's own fetch may notice before it has connected.
      if (inProcess) await cut.opened
    })
  })

  describe('the response', () => {
    test('status, status text and headers arrive as they were written', async () => {
      const response = await ask((_, response) => {
        response.setHeader('X-Set', 'before')
        response.setHeader('x-number', 7)
        response.writeHead(418, 'Short and stout', { 'Set-Cookie': ['a=1', 'b=2'], 'x-latin': 'caf\u00e9' })
        response.end(Buffer.from('tea'))
      })
      expect([response.status, response.statusText, response.ok]).toEqual([418, 'Short and stout', false])
      expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
      expect(response.headers.get('x-latin')).toBe('caf\u00e9')
      expect(response.headers.get('x-set')).toBe('before')
      expect(response.headers.get('x-number')).toBe('7')
      expect(response.headers.get('date')).toMatch(/GMT$/)
      expect(await response.text()).toBe('tea')
    })

    test('duplicate headers and an empty status text arrive as they were written', async () => {
      const response = await ask((_, response) => {
        response.sendDate = false
        response.writeHead(200, '', ['x-twice', 'a', 'x-twice', 'b', 'content-length', '2']).end('ok')
      })
      const connection = ['connection', 'keep-alive']
      expect([...response.headers].filter(([name]) => !connection.includes(name))).toEqual([
        ['content-length', '2'],
        ['x-twice', 'a, b'],
      ])
      expect([response.statusText, await response.text()]).toEqual(['', 'ok'])
    })

    test('a response has the URL of its request', async () => {
      const { fetch, url } = await serve((_, response) => void response.end())
      const response = await fetch(`${url}/a?b#c`)
      expect([response.url, response.redirected]).toEqual([`${url}/a?b`, false])
      expect(response).toBeInstanceOf(Response)
      await response.text()
    })

    test('a response begins at the first write, with the headers of that moment', async () => {
      const gate = createGate()
      let thrown: unknown
      const response = await ask(async (_, response) => {
        response.setHeader('x-a', 'before')
        response.write('one')
        try {
          response.setHeader('x-a', 'after')
        } catch (error) {
          thrown = error
        }
        await gate.opened
        response.end()
      })
      expect(response.headers.get('x-a')).toBe('before')
      expect(thrown).toMatchObject({ code: 'ERR_HTTP_HEADERS_SENT' })
      gate.open()
      expect(await response.text()).toBe('one')
    })

    test('flushed headers arrive before the body', async () => {
      const gate = createGate()
      const response = await ask(async (_, response) => {
        response.writeHead(200)
        response.flushHeaders()
        await gate.opened
        response.end('late')
      })
      expect(response.status).toBe(200)
      gate.open()
      expect(await response.text()).toBe('late')
    })

    test('a response body is read chunk by chunk as it is written', async () => {
      const chunks = ['one', 'two', 'three']
      const gates = chunks.map(createGate)
      const response = await ask(async (_, response) => {
        for (const [index, chunk] of chunks.entries()) {
          response.write(chunk)
          await gates[index]?.opened
        }
        response.end()
      })
      const reader = readerOf(response)
      for (const [index, chunk] of chunks.entries()) {
        const { value } = await reader.read()
        expect(Buffer.from(value ?? []).toString()).toBe(chunk)
        gates[index]?.open()
      }
      expect(await reader.read()).toEqual({ done: true, value: undefined })
    })

    test("a response body can be read into the reader's own buffer", async () => {
      const response = await ask((_, response) => void response.end('0123456789'))
      const reader = response.body?.getReader({ mode: 'byob' })
      const read: string[] = []
      for (;;) {
        const result = await reader?.read(new Uint8Array(4))
        if (!result || result.done) break
        read.push(Buffer.from(result.value).toString())
      }
      expect(read).toEqual(['0123', '4567', '89'])
    })

    test('a writer waits while the body is not read', async () => {
      const total = 64 * 1024 * 1024
      const chunk = Buffer.alloc(65_536, 'x')
      let written = 0
      const response = await ask(async (_, response) => {
        while (written < total) {
          written += chunk.length
          if (!response.write(chunk)) await once(response, 'drain')
        }
        response.end()
      })
      await turns()
      expect(written).toBeLessThan(total / 2)
      let read = 0
      for await (const { length } of response.body ?? []) read += length
      expect([read, written]).toEqual([total, total])
    })

    test('a pipeline can write a response', async () => {
      const response = await ask(async (_, response) => {
        await pipeline(Readable.from(['a', 'b', 'c'].map(letter => letter.repeat(50_000))), response)
      })
      expect(await response.text()).toBe(`${'a'.repeat(50_000)}${'b'.repeat(50_000)}${'c'.repeat(50_000)}`)
    })

    test('the handler is notified of the finish when all bytes were read', async () => {
      const events: string[] = []
      const closed = createGate()
      const response = await ask((request, response) => {
        for (const event of ['finish', 'close']) response.on(event, () => events.push(event))
        response.on('close', () => closed.open())
        request.resume()
        response.write('a')
        response.end('b')
      })
      expect(await response.text()).toBe('ab')
      await closed.opened
      expect(events).toEqual(['finish', 'close'])
    })

    test.each([204, 205, 304])('a response with status %d has no body', async status => {
      const response = await ask((_, response) => void response.writeHead(status).end('dropped'))
      expect([response.status, response.body, await response.text()]).toEqual([status, null, ''])
    })

    test('a response to HEAD has a length and no body', async () => {
      const response = await ask(
        (_, response) => void response.writeHead(200, { 'content-length': 7 }).end('dropped'),
        {
          method: 'HEAD',
        },
      )
      expect([response.body, response.headers.get('content-length')]).toEqual([null, '7'])
    })

    test('informational responses before the response are dropped', async () => {
      const response = await ask((_, response) => {
        response.writeProcessing()
        response.writeEarlyHints({ link: '</style.css>; rel=preload' })
        response.end('final')
      })
      expect([response.status, response.headers.get('link'), await response.text()]).toEqual([200, null, 'final'])
    })

    test('a redirect is not followed if the caller asks for that', async () => {
      const handler = vi.fn((_: IncomingMessage, response: ServerResponse) => {
        response.writeHead(302, { location: '/elsewhere' }).end('moved')
      })
      const response = await ask(handler, { redirect: 'manual' })
      expect([response.status, response.headers.get('location'), await response.text()]).toEqual([
        302,
        '/elsewhere',
        'moved',
      ])
      expect(handler).toHaveBeenCalledOnce()
    })

    test('a redirect rejects if the caller asks for that', async () => {
      const handler: RequestHandler = (_, response) => void response.writeHead(302, { location: '/elsewhere' }).end()
      const error = await rejection(ask(handler, { redirect: 'error' }))
      expect(error).toMatchObject({ message: 'fetch failed', cause: { message: 'unexpected redirect' } })
    })

    const long = Array.from({ length: 20_000 }, (_, index) => `line ${index}\n`).join('')
    test.each([
      ['gzip', gzipSync(long)],
      ['x-gzip', gzipSync(long)],
      ['deflate', deflateSync(long)],
      ['br', brotliCompressSync(long)],
      ['gzip, BR', brotliCompressSync(gzipSync(long))],
    ])('a response in %s is decoded', async (encoding, body) => {
      const response = await ask((_, response) => {
        response.writeHead(200, { 'content-encoding': encoding, 'content-length': body.length }).end(body)
      })
      expect(response.headers.get('content-encoding')).toBe(encoding)
      expect(await response.text()).toBe(long)
    })

    test('a response in an unknown encoding stays encoded', async () => {
      const response = await ask((_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip, rot13' }).end('grkg')
      })
      expect(await response.text()).toBe('grkg')
    })

    test('a response that cannot be decoded fails', async () => {
      const response = await ask((_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end('this is no gzip at all')
      })
      expect(await rejection(response.text())).toMatchObject({ name: 'TypeError', message: 'terminated' })
    })

    test('a compressed response can be aborted in its middle', async () => {
      const body = gzipSync(long)
      const abort = controller()
      const response = await ask(
        async (_, response) => {
          const closed = once(response, 'close')
          response.writeHead(200, { 'content-encoding': 'gzip' })
          // The callback runs at the end of the write, read or not.
          await new Promise(resolve => response.write(body.subarray(0, 20_000), resolve))
          await closed
        },
        { signal: abort.signal },
      )
      const reader = readerOf(response)
      await reader.read()
      // The decoder is full by then.
      await turns()
      const reason = new Error('enough')
      abort.abort(reason)
      expect(await rejection(reader.closed)).toBe(reason)
    })

    test('each of several responses belongs to its request', async () => {
      const random = randomFrom()
      const { fetch, url } = await serve(async (request, response) => {
        await turns(Math.floor(random() * 5))
        response.end(`${request.url} ${await textOf(request)}`)
      })
      const asked = Array.from({ length: 50 }, async (_, index) => {
        const response = await fetch(`${url}/${index}`, { method: 'POST', body: `body ${index}` })
        return response.text()
      })
      expect(await Promise.all(asked)).toEqual(asked.map((_, index) => `/${index} body ${index}`))
    })

    test('a handler gets the errors of node:http for invalid writes', async () => {
      const codes: unknown[] = []
      const attempt = (act: () => void) => {
        try {
          act()
        } catch (error) {
          codes.push(error instanceof Error && Reflect.get(error, 'code'))
        }
      }
      const failed = createGate()
      const response = await ask((_, response) => {
        attempt(() => response.setHeader('x-a', 'line\nbreak'))
        attempt(() => response.setHeader('x a', 'b'))
        attempt(() => response.writeHead(99))
        response.end('ok')
        attempt(() => response.writeHead(200))
        response.on('error', (error: NodeJS.ErrnoException) => {
          codes.push(error.code)
          failed.open()
        })
        response.write('more')
      })
      expect(await response.text()).toBe('ok')
      await failed.opened
      expect(codes).toEqual([
        'ERR_INVALID_CHAR',
        'ERR_INVALID_HTTP_TOKEN',
        'ERR_HTTP_INVALID_STATUS_CODE',
        'ERR_HTTP_HEADERS_SENT',
        'ERR_STREAM_WRITE_AFTER_END',
      ])
    })
  })

  describe('a response that is cut off', () => {
    test('a response that is cut off before its headers rejects', async () => {
      const error = await rejection(ask((_, response) => void response.destroy()))
      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: 'fetch failed', cause: expect.any(Error) })
    })

    test('a response that is cut off inside its body fails behind the received bytes', async () => {
      const gate = createGate()
      const response = await ask(async (_, response) => {
        response.write('some')
        await gate.opened
        response.destroy()
      })
      const reader = readerOf(response)
      expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('some')
      gate.open()
      const error = await rejection(reader.read())
      expect(error).toBeInstanceOf(TypeError)
      expect(error).toMatchObject({ message: 'terminated', cause: expect.any(Error) })
    })

    test('a response with less bytes than announced fails', async () => {
      const response = await ask((_, response) => {
        response.writeHead(200, { 'content-length': 10, connection: 'close' }).end('short')
      })
      expect(await rejection(response.text())).toMatchObject({ name: 'TypeError', message: 'terminated' })
    })

    test('a response whose socket ends fails', async () => {
      const response = await ask((_, response) => {
        response.write('some', () => response.socket?.destroySoon())
      })
      expect(await rejection(response.text())).toMatchObject({ name: 'TypeError', message: 'terminated' })
    })
  })

  const reasons: [string, unknown][] = [
    ['an error', new Error('enough')],
    ['the default', undefined],
    ['a text', 'enough'],
    // Once the response has begun, Node's own fetch rejects with an AbortError.
    ...(inProcess ? [['null', null] satisfies [string, unknown]] : []),
  ]

  describe.each(reasons)('aborting with %s', (_, given) => {
    /** The call has to reject with the reason of the signal. */
    function aborted(abort: AbortController): unknown {
      abort.abort(given)
      return abort.signal.reason
    }

    test('a signal that has aborted before rejects the call, and the handler is not called', async () => {
      const abort = controller()
      const reason = aborted(abort)
      const handler = vi.fn()
      expect(await rejection(ask(handler, { signal: abort.signal }))).toBe(reason)
      expect(handler).not.toHaveBeenCalled()
    })

    test("an abort before the response rejects and leaves the handler's response unfinished", async () => {
      const abort = controller()
      const reached = createGate()
      const closed = createGate()
      const responding = ask(
        async (_, response) => {
          reached.open()
          await once(response, 'close')
          expect([response.destroyed, response.writableFinished]).toEqual([true, false])
          closed.open()
        },
        { signal: abort.signal },
      )
      await reached.opened
      const reason = aborted(abort)
      expect(await rejection(responding)).toBe(reason)
      await closed.opened
    })

    test.each(['while it is read', 'between two reads'])(
      'an abort inside the body, %s, rejects with the reason',
      async when => {
        const abort = controller()
        const closed = createGate()
        const response = await ask(
          async (_, response) => {
            response.write('some')
            await once(response, 'close')
            expect(response.writableFinished).toBe(false)
            closed.open()
          },
          { signal: abort.signal },
        )
        const reader = readerOf(response)
        await reader.read()
        const pending = when === 'while it is read' ? rejection(reader.read()) : undefined
        const reason = aborted(abort)
        expect(await (pending ?? rejection(reader.read()))).toBe(reason)
        expect(await rejection(reader.closed)).toBe(reason)
        await closed.opened
      },
    )

    test('an abort while the whole body is read rejects with the reason', async () => {
      const abort = controller()
      const response = await ask(
        async (_, response) => {
          response.write('some')
          await once(response, 'close')
        },
        { signal: abort.signal },
      )
      const text = rejection(response.text())
      const reason = aborted(abort)
      expect(await text).toBe(reason)
    })

    test('an abort after the end changes nothing', async () => {
      const abort = controller()
      const response = await ask((_, response) => void response.end('all'), { signal: abort.signal })
      expect(await response.text()).toBe('all')
      await turns()
      aborted(abort)
      expect(response.bodyUsed).toBe(true)
    })
  })

  test('aborting the signal of a Request rejects with its reason', async () => {
    const abort = controller()
    const { fetch, url } = await serve(async (_, response) => void (await once(response, 'close')))
    const request = new Request(url, { signal: abort.signal })
    const responding = fetch(request)
    const reason = new Error('enough')
    queueMicrotask(() => abort.abort(reason))
    expect(await rejection(responding)).toBe(reason)
  })

  test('a timeout rejects with its TimeoutError', async () => {
    const signal = AbortSignal.timeout(1)
    const error = await rejection(ask(async (_, response) => void (await once(response, 'close')), { signal }))
    expect(error).toBe(signal.reason)
    expect(error).toMatchObject({ name: 'TimeoutError' })
  })

  test("cancelling the body leaves the handler's response unfinished", async () => {
    const closed = createGate()
    const abort = controller()
    const response = await ask(
      async (_, response) => {
        response.write('some')
        await once(response, 'close')
        expect(response.writableFinished).toBe(false)
        closed.open()
      },
      { signal: abort.signal },
    )
    const reader = readerOf(response)
    await reader.read()
    await reader.cancel('enough')
    expect(await reader.read()).toEqual({ done: true, value: undefined })
    await closed.opened
  })
})

describe('only in this process', () => {
  leavesNothing()
  const [row] = fetchRows
  const open = (handler: RequestHandler) => row?.open(handler) ?? expect.fail('the first row is this process')
  const ask = async (handler: RequestHandler, init?: RequestInit): Promise<Response> => {
    const { fetch, url } = await open(handler)
    return fetch(url, init)
  }

  test.each<[string, RequestHandler]>([
    [
      'throws',
      () => {
        throw new Error('oh')
      },
    ],
    ['rejects', () => Promise.reject(new Error('oh'))],
    [
      'rejects with headers that it has only set',
      async (_, response) => {
        response.setHeader('x-a', 'b')
        throw new Error('oh')
      },
    ],
  ])('a handler that %s before its response is a 500 whose body fails', async (_, handler) => {
    const { signal } = new AbortController()
    const response = await ask(handler, { signal })
    expect([response.status, response.statusText]).toEqual([500, 'Internal Server Error'])
    expect(response.headers.get('x-a')).toBe(null)
    expect(await rejection(response.text())).toMatchObject({
      name: 'Error',
      message: 'handler failed',
      cause: { message: 'oh' },
    })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('a handler that fails before its response to HEAD is a 500 without a body', async () => {
    const response = await ask(() => Promise.reject(new Error('oh')), { method: 'HEAD' })
    expect([response.status, response.body]).toEqual([500, null])
  })

  test('a handler that dies inside the body fails the read behind the written bytes, with the cause', async () => {
    const cause = new Error('oh')
    const response = await ask(async (_, response) => {
      response.write('one')
      response.write('two')
      throw cause
    })
    const reader = readerOf(response)
    const read: string[] = []
    const error = await rejection(
      (async () => {
        for (;;) {
          const { value } = await reader.read()
          read.push(Buffer.from(value ?? []).toString())
        }
      })(),
    )
    expect(read).toEqual(['one', 'two'])
    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({ message: 'terminated', cause })
  })

  test('the error that a handler destroys its response with is the cause, before and inside the body', async () => {
    const cause = new Error('oh')
    expect(await rejection(ask((_, response) => void response.destroy(cause)))).toMatchObject({ cause })
    const response = await ask((_, response) => void response.write('some', () => response.destroy(cause)))
    expect(await rejection(response.text())).toMatchObject({ message: 'terminated', cause })
  })

  test('a handler that returns nothing is an empty 200', async () => {
    const response = await ask(async () => {})
    expect([response.status, response.statusText, await response.text()]).toEqual([200, 'OK', ''])
  })

  test('a handler that fails after its response changes nothing', async () => {
    const response = await ask(async (_, response) => {
      response.end('all')
      throw new Error('oh')
    })
    expect(await response.text()).toBe('all')
  })

  test('a redirect is never followed', async () => {
    const handler = vi.fn((_: IncomingMessage, response: ServerResponse) => {
      response.writeHead(302, { location: '/elsewhere' }).end()
    })
    expect((await ask(handler)).status).toBe(302)
    expect(handler).toHaveBeenCalledOnce()
  })

  test('integrity is rejected rather than ignored', async () => {
    expect(await rejection(ask(() => {}, { integrity: 'sha256-AAAA' }))).toBeInstanceOf(TypeError)
  })

  test('a chunk written is a chunk read, of any size', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(sizes, fc.boolean(), async (sizes, waits) => {
        const response = await ask(async (_, response) => {
          for (const [index, size] of sizes.entries()) {
            if (!response.write(Buffer.alloc(size, index)) && waits) await once(response, 'drain')
          }
          response.end()
        })
        const read: [number, number | undefined][] = []
        for await (const chunk of response.body ?? []) read.push([chunk.length, chunk[0]])
        expect(read).toEqual(sizes.map((size, index) => [size, index]))
      }),
      { numRuns: 50 },
    )
  })

  test('no chunk is taken from the handler before the reader asks for it', async () => {
    const drained = vi.fn()
    const response = await ask((_, response) => {
      response.on('drain', drained)
      expect(response.write('one')).toBe(false)
    })
    await turns()
    expect(drained).not.toHaveBeenCalled()
    const reader = readerOf(response)
    await reader.read()
    await eventually(() => expect(drained).toHaveBeenCalledOnce())
    await reader.cancel()
  })

  test("the reader's bytes are a copy", async () => {
    const reused = Buffer.from('one')
    const response = await ask(async (_, response) => {
      response.write(reused)
      await once(response, 'drain')
      reused.write('two')
      response.end(reused)
    })
    const reader = readerOf(response)
    const first = await reader.read()
    const second = await reader.read()
    expect([first, second].map(({ value }) => Buffer.from(value ?? []).toString())).toEqual(['one', 'two'])
    structuredClone(first.value, { transfer: [first.value?.buffer as ArrayBuffer] }) // an ArrayBuffer of its own
    expect(reused.toString()).toBe('two')
    expect((await reader.read()).done).toBe(true)
  })

  test('a pending write fails when the reader cancels the body', async () => {
    const failed = createGate()
    const response = await ask((_, response) => {
      response.write('one', error => {
        expect(error).toBeInstanceOf(Error)
        failed.open()
      })
    })
    await response.body?.cancel()
    await failed.opened
  })

  test('a hundred calls may wait on one signal', async () => {
    const warned = vi.fn()
    process.on('warning', warned)
    const abort = new AbortController()
    const { fetch, url } = await open(async (_, response) => void (await once(response, 'close')))
    const asked = Array.from({ length: 100 }, () => rejection(fetch(url, { signal: abort.signal })))
    await turns(5)
    const reason = new Error('enough')
    abort.abort(reason)
    expect(new Set(await Promise.all(asked))).toEqual(new Set([reason]))
    await turns(5)
    process.off('warning', warned)
    expect(warned).not.toHaveBeenCalled()
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })
})
