import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type {
  HiddenCall,
  HiddenTurn,
  InjectedRequest,
  MergedBytes,
  RoundMerger,
} from '../../../../client/bridge/injection/injection-api.js'
import type { ProviderError } from '../../../../client/bridge/injection/provider-error.js'
import { RoundFailed, type RoundsOptions, runRounds } from '../../../../client/bridge/injection/rounds.js'
import type { ToolResult } from '../../../../client/bridge/mcp/injected-tool.js'
import { abortedBy, UpstreamError } from '../../../../client/bridge/relay/upstream-error.js'
import { Rejection } from '../../../../client/bridge/wire/rejection.js'

const eventStream = ['content-type', 'text/event-stream']

/** A response in a small API of letters: `H` is a hidden call, `c` a call of the client, `.` the end. */
interface Response {
  status?: number
  headers?: string[]
  letters: string
  /** the error of the call behind the letters */
  error?: Error
}

class SmallMerger implements RoundMerger {
  readonly #request: SmallRequest
  #hidden = 0
  #held = ''
  #isMixed = false

  constructor(request: SmallRequest) {
    this.#request = request
  }

  push(chunk: Buffer): MergedBytes {
    let bytes = ''
    for (const letter of chunk.toString()) {
      if (letter === 'H') this.#hidden++
      else if (letter === 'c') {
        this.#isMixed = true
        bytes += letter
      } else if (letter === '.' && this.#hidden > 0) this.#held = '.'
      else bytes += letter
    }
    const written = this.#request.isStream ? bytes : ''
    if (!this.#request.isStream) this.#held = bytes
    return { bytes: Buffer.from(written), isLast: written.endsWith('.') }
  }

  end() {
    const calls = Array.from({ length: this.#hidden }, (_, index): HiddenCall => {
      return { callId: `${this.#request.rounds}/${index}`, tool: undefined, name: 'x', input: '{}', arguments: {} }
    })
    const isFinal = calls.length === 0 || this.#isMixed
    return { calls, isFinal, held: { bytes: Buffer.from(isFinal ? this.#held : ''), isLast: isFinal } }
  }
}

class SmallRequest implements InjectedRequest {
  rounds = 0
  results: string[] = []
  readonly isStream: boolean

  constructor(isStream: boolean) {
    this.isStream = isStream
  }

  body = () => [Buffer.from(`body of ${this.results.length} results`)]
  beginRound(): RoundMerger {
    this.rounds++
    return new SmallMerger(this)
  }
  addResults(results: readonly { call: HiddenCall; result: ToolResult }[]): void {
    this.results.push(...results.map(({ call }) => call.callId))
  }
  turn = (): HiddenTurn | undefined =>
    this.results.length === 0 ? undefined : { api: 'small', anchors: this.results, rounds: [{}] }
  ping = () => Buffer.from('p')
  errorEvent = (message: string, error?: ProviderError) =>
    Buffer.from(`E(${message}${error?.body === undefined ? '' : `, ${JSON.stringify(error.body)}`})`)
}

/** Runs the rounds of a request whose provider responds as given; returns what everybody saw, in order. */
async function run(responses: Response[], given: Partial<RoundsOptions> = {}, isStream = true) {
  const log: string[] = []
  const request = new SmallRequest(isStream)
  let round = 0
  const abort = new AbortController()
  const options: RoundsOptions = {
    request,
    signal: abort.signal,
    async send(body, receiver) {
      const {
        status = 200,
        headers = isStream ? eventStream : [],
        letters,
        error,
      } = responses[round++] ?? { letters: '.' }
      log.push(`send ${Buffer.concat(body)}`)
      receiver.head({ status, statusText: '', headers })
      for (const letter of letters) await receiver.chunk(Buffer.from(letter), false)
      if (error) throw error
    },
    async run(call) {
      log.push(`run ${call.callId}`)
      return { isError: false, parts: [{ type: 'text', text: 'done' }], durationMs: 1 }
    },
    keep(turn) {
      if (turn) log.push(`keep ${turn.anchors}`)
      return turn && Promise.resolve()
    },
    client: {
      head: ({ status, headers }) => void log.push(`head ${status} ${headers}`),
      chunk: bytes => void log.push(`client ${bytes}`),
    },
    onLast: () => void log.push('last'),
    recorded: {
      head() {},
      chunk: () => false,
      waitsForCalls() {},
      nextResponse: async () => void log.push('next'),
      fail: async error => void log.push(`failed ${error instanceof Error ? error.message : error}`),
    },
    limits: { maxInjectedRounds: 4, injectedTotalMs: 60_000, injectedPingMs: 10_000 },
    ...given,
  }
  let error: unknown
  await runRounds(options).catch((reason: unknown) => {
    error = reason
  })
  return { log, error, abort }
}

describe('the rounds of a request', () => {
  test('a response without hidden calls passes, and nothing is kept', async () => {
    const { log } = await run([{ letters: 'ab.' }])
    const head = `head 200 ${eventStream}`
    expect(log).toEqual(['send body of 0 results', head, 'client a', 'client b', 'last', 'client .'])
  })

  test('hidden calls run in order behind a ping, and the turn is kept before the last bytes', async () => {
    const { log } = await run([{ letters: 'aHH.' }, { letters: 'b.' }])
    expect(log).toEqual([
      'send body of 0 results',
      `head 200 ${eventStream}`,
      'client a',
      'client p',
      'run 1/0',
      'run 1/1',
      'next',
      'send body of 2 results',
      'client b',
      'keep 1/0,1/1',
      'last',
      'client .',
    ])
  })

  test('a stream gets its head and a ping before a tool runs, although it has no byte yet', async () => {
    const { log } = await run([{ letters: 'H.' }, { letters: 'b.' }])
    expect(log.slice(1, 4)).toEqual([`head 200 ${eventStream}`, 'client p', 'run 1/0'])
  })

  test('a turn is kept although the response breaks off without last bytes', async () => {
    const { log } = await run([{ letters: 'aH.' }, { letters: 'b' }])
    expect(log.slice(-4)).toEqual(['client b', 'keep 1/0', 'last', 'client '])
  })

  test("a call of the client's tool ends the response behind the results of hidden calls", async () => {
    const { log } = await run([{ letters: 'Hc.' }])
    expect(log.slice(1)).toEqual([
      `head 200 ${eventStream}`,
      'client c',
      'client p',
      'run 1/0',
      'keep 1/0',
      'last',
      'client .',
    ])
  })

  test('a body begins behind its last round, with its length, and no ping comes before', async () => {
    const headers = ['content-length', '99', 'x-a', 'b']
    const { log } = await run(
      [
        { letters: 'H', headers },
        { letters: 'z', headers },
      ],
      {},
      false,
    )
    expect(log).toEqual([
      'send body of 0 results',
      'run 1/0',
      'next',
      'send body of 1 results',
      'keep 1/0',
      'last',
      'head 200 x-a,b,content-length,1',
      'client z',
    ])
  })

  test('an error of the first round passes as it is', async () => {
    const { log, error } = await run([{ status: 429, letters: 'no' }])
    expect([log.slice(1), error]).toEqual([[`head 429 ${eventStream}`, 'client n', 'client o'], undefined])
  })

  test('an error of a later round passes as it is, if nothing of the response has left', async () => {
    const { log } = await run([{ letters: 'H' }, { status: 529, letters: 'x' }], {}, false)
    expect(log.slice(-2)).toEqual(['head 529 ', 'client x'])
  })
})

describe('a stream ends with an error event', () => {
  const unkept = new Rejection(503, 'tools_unkept', 'the results could not be kept')
  const died = new UpstreamError('died', 'the provider closed the connection')
  const hidden = { letters: 'aH.' }

  test.each<[string, Response[], Partial<RoundsOptions>, string]>([
    [
      'a later round gets an error',
      [hidden, { status: 500, letters: 'x' }],
      {},
      'the provider responded with status 500',
    ],
    ['a later round dies', [hidden, { letters: 'b', error: died }], {}, died.message],
    ['the turn cannot be kept', [hidden, { letters: 'b.' }], { keep: () => Promise.reject(unkept) }, unkept.message],
    [
      'the turn of a mixed round cannot be kept',
      [{ letters: 'Hc.' }],
      { keep: () => Promise.reject(unkept) },
      unkept.message,
    ],
    [
      'the rounds have no end',
      [hidden, hidden, hidden, hidden, hidden],
      {},
      'the model called tools in 4 rounds, and no more are allowed',
    ],
    [
      'tools take too long',
      [hidden, hidden],
      { limits: { maxInjectedRounds: 4, injectedTotalMs: -1, injectedPingMs: 1_000 } },
      'tools took more than -1 ms',
    ],
  ])('if %s', async (_, responses, given, message) => {
    const { log, error } = await run(responses, given)
    expect(error).toBeInstanceOf(RoundFailed)
    expect(log.slice(-3)).toEqual([`failed ${message}`, 'last', `client E(${message})`])
    expect(log.filter(entry => entry === 'client .')).toEqual([])
  })

  test.each<[string, Response, string]>([
    ['has its JSON', { status: 400, letters: '{"error":1}' }, ', {"error":1}'],
    ['is not JSON', { status: 400, letters: '<p>' }, ''],
    ['has 64 KiB', { status: 400, letters: `1${' '.repeat(65_535)}` }, ', 1'],
    ['is larger than 64 KiB', { status: 400, letters: `1${' '.repeat(65_536)}` }, ''],
    ['is encoded', { status: 400, headers: ['content-encoding', 'br'], letters: '1' }, ''],
  ])("the provider's error is for the client alone: a body that %s", async (_, response, shown) => {
    const { log, error } = await run([hidden, response])
    expect(error).toMatchObject({ message: 'the provider responded with status 400' })
    const sentence = 'the provider responded with status 400'
    expect(log.slice(-3)).toEqual([`failed ${sentence}`, 'last', `client E(${sentence}${shown})`])
  })

  test('the part of the turn that the client has seen is kept before the event', async () => {
    const { log } = await run([hidden, { letters: 'b', error: died }])
    expect(log.slice(-4)).toEqual(['keep 1/0', `failed ${died.message}`, 'last', `client E(${died.message})`])
  })

  test('a body has the error as its status in place of the event', async () => {
    const { log, error } = await run(
      [{ letters: 'H' }, { letters: 'z' }],
      { keep: () => Promise.reject(unkept) },
      false,
    )
    expect(error).toBe(unkept)
    expect(log.filter(entry => entry.startsWith('client'))).toEqual([])
  })

  test('a client that left gets nothing, and the error is that of the abort', async () => {
    const abort = new AbortController()
    const reason = new Error('the client disconnected')
    const { log, error } = await run([hidden], {
      signal: abort.signal,
      run() {
        abort.abort(reason)
        return Promise.reject(abortedBy(abort.signal))
      },
    })
    expect(error).toMatchObject({ failure: 'aborted', cause: reason })
    expect(log.at(-1)).toBe('client p')
  })
})

test('pings come at intervals while a tool runs, and not to a client that takes nothing', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const written: string[] = []
  let release = () => {}
  const { log } = await run([{ letters: 'aH.' }, { letters: '.' }], {
    async run() {
      await vi.advanceTimersByTimeAsync(25_000)
      release()
      await vi.advanceTimersByTimeAsync(10_000)
      return { isError: false, parts: [], durationMs: 35_000 }
    },
    client: {
      head() {},
      chunk(bytes) {
        written.push(bytes.toString())
        // The client takes nothing behind the third ping.
        if (written.join('') !== 'appp') return undefined
        return new Promise(resolve => {
          release = resolve
        })
      },
    },
  })
  expect(written.join('')).toBe('apppp.')
  expect(log.at(-1)).toBe('last')
})
