import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { headerTest, requestHeaders, responseHeaders } from '../../../../client/bridge/wire/headers.js'

/** The headers that stay, as the contract lists them; `*` stands for any end. Written apart from the sources. */
const hop =
  'connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade'
const always =
  'host accept-encoding content-length cookie forwarded x-forwarded-* x-real-ip x-client-ip x-cluster-client-ip true-client-ip x-original-* x-envoy-external-address via cdn-loop fly-client-ip fastly-client-ip x-azure-* cf-connecting-ip* cf-ipcountry cf-ray cf-visitor cf-worker cf-access-* cf-warp-* x-auth-request-* x-amzn-oidc-* x-goog-iap-* x-ms-client-principal* remote-user x-remote-* x-pomerium-* tailscale-user-* x-bridge-token expect'
const ofCredentials =
  'authorization x-api-key api-key x-goog-api-key openai-organization openai-project openai-platform chatgpt-account-id'

const key = `${'k'.repeat(10)}-${'s'.repeat(22)}`
const token = fc.stringMatching(/^[a-z0-9-]{0,12}$/)
const listed = (list: string) =>
  fc
    .tuple(fc.constantFrom(...list.split(' ')), token)
    .map(([pattern, end]) => (pattern.endsWith('*') ? pattern.slice(0, -1) + end : pattern))
const anyCase = (name: fc.Arbitrary<string>) =>
  fc.tuple(name, fc.infiniteStream(fc.boolean())).map(([text, upper]) => {
    const cases = upper[Symbol.iterator]()
    return [...text].map(letter => (cases.next().value ? letter.toUpperCase() : letter)).join('')
  })
const matches = (list: string, name: string) =>
  list
    .split(' ')
    .some(pattern =>
      pattern.endsWith('*') ? name.toLowerCase().startsWith(pattern.slice(0, -1)) : name.toLowerCase() === pattern,
    )
const value = fc.stringMatching(/^[\x21-\x7e][\x20-\x7e]{0,40}$/).filter(text => !text.includes(key))
const namesOf = (raw: readonly string[]) => raw.filter((_, index) => index % 2 === 0).map(name => name.toLowerCase())

describe('request headers', () => {
  test.each([
    ['the headers of the hop and of the way', `${hop} ${always}`, undefined],
    ["the client's credentials, where others replace them,", ofCredentials, ['x-api-key', 'ours']],
  ] as const)('%s never reach a provider', (_, list, credential) => {
    fc.assert(
      fc.property(anyCase(listed(list)), value, (name, value) => {
        if (name.toLowerCase() === 'connection') return
        const sent = requestHeaders([name, value, 'x-other', '1'], { credential })
        expect(sent.join('\n')).not.toContain(`${name}\n${value}`)
        expect(sent.slice(0, 2)).toEqual(['x-other', '1'])
      }),
    )
  })

  test('every other header passes unchanged, also credentials that the client brings itself', () => {
    const known = fc.constantFrom(
      'anthropic-version',
      'anthropic-beta',
      'cf-aig-authorization',
      'traceparent',
      'x-stainless-os',
    )
    const other = fc.oneof(fc.stringMatching(/^[a-z][a-z0-9-]{0,24}$/), known)
    fc.assert(
      fc.property(anyCase(other), value, fc.boolean(), (name, value, isByok) => {
        fc.pre(!matches(`${hop} ${always} x-bridge-loop`, name) && (isByok || !matches(ofCredentials, name)))
        const sent = requestHeaders([name, value], { credential: isByok ? undefined : [], key })
        expect(sent.slice(0, 2)).toEqual([name, value])
      }),
    )
    for (const name of ofCredentials.split(' ')) {
      expect(requestHeaders([name, 'theirs'], { credential: undefined, key }).slice(0, 2)).toEqual([name, 'theirs'])
    }
  })

  test('a header whose value contains the key stays, whatever its name', () => {
    fc.assert(
      fc.property(token, value, value, (name, before, after) => {
        const sent = requestHeaders([`x-${name}`, before + key + after], { credential: undefined, key })
        expect(sent.join('\n')).not.toContain(key)
      }),
    )
  })

  test('headers that the operator names stay, exact ones and beginnings', () => {
    const withheld = headerTest(['x-team', 'x-corp-*'])
    const raw = ['X-Team', 'a', 'x-teams', 'b', 'X-Corp-User', 'c', 'x-corp', 'd']
    expect(requestHeaders(raw, { credential: undefined, withheld }).slice(0, 4)).toEqual([
      'x-teams',
      'b',
      'x-corp',
      'd',
    ])
  })
})

describe('response headers', () => {
  test('cookies of a provider stay; other headers pass', () => {
    const raw = ['Set-Cookie', 'a=1', 'X-A', '1', 'set-cookie2', 'b', 'access-control-allow-origin', '*']
    expect(namesOf(responseHeaders(raw))).toEqual(['x-a'])
  })

  const date = 'Wed, 21 Oct 2026 07:28:00 GMT'
  test.each([
    ['12', '12'],
    [' 12 ', '12'],
    ['0', '0'],
    ['0.4', '1'],
    ['1.0', '1'],
    ['29.01', '30'],
    ['Wed, 21 Oct 2026 07:28:30 GMT', '30'],
    ['Wednesday, 21-Oct-26 07:29:00 GMT', '60'],
    ['Wed, 21 Oct 2026 07:00:00 GMT', '0'],
    ['soon', 'soon'],
    ['-5', '-5'],
  ])('Retry-After %j is relayed as %j', (sent, relayed) => {
    expect(responseHeaders(['Date', date, 'Retry-After', sent])).toEqual(['Date', date, 'Retry-After', relayed])
  })

  test('a date without the clock of the provider counts by this clock', () => {
    const until = new Date(Date.now() + 90_000).toUTCString()
    const [, relayed] = responseHeaders(['retry-after', until])
    expect(Number(relayed)).toBeGreaterThanOrEqual(88)
    expect(Number(relayed)).toBeLessThanOrEqual(90)
  })
})
