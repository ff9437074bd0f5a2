import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { namedTools, type UnnamedTool } from '../../../../client/bridge/mcp/tool-names.js'

const tool = (serverId: string, bareName: string): UnnamedTool => ({
  serverId,
  bareName,
  serverUrl: '',
  description: '',
  inputSchema: {},
})
const names = (tools: [string, string][], taken: string[] = []) =>
  namedTools(
    tools.map(([serverId, bareName]) => tool(serverId, bareName)),
    new Set(taken),
  ).map(({ fullName, bareName }) => [fullName, bareName])

describe('names of tools', () => {
  test('a tool has the names of its server and its own', () => {
    expect(
      names([
        ['wiki', 'read-page_2'],
        ['b', 'x'],
      ]),
    ).toEqual([
      ['bmcp_b_x', 'x'],
      ['bmcp_wiki_read-page_2', 'read-page_2'],
    ])
  })

  test('each other character becomes _', () => {
    expect(names([['wiki', 'read page/ö😀']])).toEqual([['bmcp_wiki_read_page___', 'read page/ö😀']])
  })

  test('a long name is cut at 64 characters with a hash', () => {
    const [[name] = []] = names([['wiki', 'x'.repeat(300)]])
    expect(name).toMatch(/^bmcp_wiki_x{45}_[0-9a-f]{8}$/)
    expect(names([['wiki', 'x'.repeat(54)]])).toEqual([[`bmcp_wiki_${'x'.repeat(54)}`, 'x'.repeat(54)]])
  })

  test('a name that would occur twice has a hash, except that of the tool whose very name it is', () => {
    expect(
      names([
        ['w', 'a b'],
        ['w', 'a/b'],
        ['w', 'a_b'],
        ['w', 'c d'],
      ]),
    ).toEqual([
      ['bmcp_w_a_b', 'a_b'],
      [expect.stringMatching(/^bmcp_w_a_b_[0-9a-f]{8}$/), expect.any(String)],
      [expect.stringMatching(/^bmcp_w_a_b_[0-9a-f]{8}$/), expect.any(String)],
      ['bmcp_w_c_d', 'c d'],
    ])
  })

  test('a name that a tool of the client has gets a hash', () => {
    expect(names([['w', 'a']], ['bmcp_w_a'])).toEqual([[expect.stringMatching(/^bmcp_w_a_[0-9a-f]{8}$/), 'a']])
  })

  test('tools with names are named anew', () => {
    const [named] = namedTools([tool('w', 'a')])
    const [again] = namedTools(named ? [named] : [], new Set(['bmcp_w_a']))
    expect(again?.fullName).toMatch(/^bmcp_w_a_[0-9a-f]{8}$/)
  })

  test('a name whose short hash is taken has a longer one', () => {
    const [, [hashed = ''] = []] = names([
      ['w', 'a b'],
      ['w', 'a_b'],
    ])
    const [, , [longer] = []] = names([
      ['w', 'a b'],
      ['w', 'a_b'],
      ['w', hashed.slice('bmcp_w_'.length)],
    ])
    expect(longer).toMatch(new RegExp(`^${hashed}[0-9a-f]{8}$`))
  })

  test('the first of several equal tools has the name', () => {
    const [one, other] = [tool('w', 'a'), { ...tool('w', 'a'), description: 'other' }]
    expect(namedTools([one, other])).toEqual([{ fullName: 'bmcp_w_a', ...one }])
  })
})

describe('names of any tools', () => {
  const server = fc.constantFrom('a', 'a-b', 'a-b-c', 'x'.repeat(32))
  const bare = fc.oneof(
    fc.stringMatching(/^[a_ /-]{1,4}$/),
    fc.constantFrom('x'.repeat(80), `${'x'.repeat(80)}y`, `${'x'.repeat(80)} `),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 70 }),
  )
  const tools = fc.uniqueArray(fc.tuple(server, bare), { maxLength: 12, selector: each => each.join(' ') })
  const nameOf = (list: [string, string][], taken: ReadonlySet<string> = new Set()) =>
    new Map(
      namedTools(
        list.map(([serverId, bareName]) => tool(serverId, bareName)),
        taken,
      ).map(({ fullName, serverId, bareName }) => [`${serverId} ${bareName}`, fullName]),
    )

  test('names are allowed, unique, sorted, free, and one for each tool', () => {
    fc.assert(
      fc.property(tools, fc.array(bare), (list, extra) => {
        const taken = new Set(extra.map(name => `bmcp_a_${name}`))
        const named = namedTools(
          list.map(([serverId, bareName]) => tool(serverId, bareName)),
          taken,
        ).map(({ fullName }) => fullName)
        expect(named.length).toBe(list.length)
        expect(new Set(named).size).toBe(list.length)
        expect(named).toEqual(named.toSorted())
        for (const name of named) {
          expect(name).toMatch(/^bmcp_[A-Za-z0-9_-]{1,59}$/)
          expect(taken.has(name)).toBe(false)
        }
      }),
    )
  })

  test('names do not depend on the order, nor on tools of other servers', () => {
    const permuted = tools.chain(list =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    )
    fc.assert(
      fc.property(permuted, fc.uniqueArray(bare), ([list, other], strangers) => {
        const before = nameOf(list)
        expect(nameOf(other)).toEqual(before)
        const more = nameOf([...strangers.map((name): [string, string] => ['zz', name]), ...other])
        for (const [identity, name] of before) expect(more.get(identity)).toBe(name)
      }),
    )
  })
})
