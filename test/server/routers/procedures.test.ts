/** Every procedure of the contract has a row: its role, an input that it takes, and inputs that it rejects. */
import { callTRPCProcedure } from '@trpc/server'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { appRouter } from '../../../server/routers/app.js'
import type { CheckedInput, Context } from '../../../server/routers/trpc.js'
import type { Identity } from '../../../server/services/identity.js'
import type { Services } from '../../../server/services/services.js'
import { RpcError } from '../../../shared/rpc/errors.js'

interface Row {
  role: Identity['role']
  /** admins may read too */
  isRead?: true
  /** an input that reaches the service; undefined for a procedure without input */
  taken?: object
  /** inputs that are rejected, by the rule that each breaks */
  rejected?: Readonly<Record<string, unknown>>
}

const id = '019a0000-0000-7000-8000-000000000001'
const at = new Date('2030-01-01T00:00:00.000Z')
const child = { id, interceptionId: id, msgId: 'm', createdAt: at }
const interception = {
  id,
  initiatorId: id,
  apiKeyId: 'abcdefghij',
  provider: 'anthropic',
  model: 'claude',
  startedAt: at,
}
const tokenUsage = { ...child, inputTokens: 1, outputTokens: 2, cacheReadInputTokens: 0, cacheWriteInputTokens: 0 }
const digits = 'ab'.repeat(32)
const tool = {
  fullName: 'bmcp_wiki_read',
  bareName: 'read',
  serverId: 'wiki',
  serverUrl: 'https://wiki.example.com/mcp',
  description: '',
  inputSchema: { type: 'object' },
}
const turn = { api: 'anthropic-messages', anchors: ['toolu_1'], rounds: [{ hidden: [] }] }
const nul = 'a\0b'

const text = { type: 'text', text: 'hello' }
const message = { id, parts: [text] }

const chatRows: Readonly<Record<string, Row>> = {
  'chats.create': {
    role: 'user',
    taken: { id, provider: 'demo', model: 'demo', message },
    rejected: {
      'no model': { id, provider: 'demo' },
      'an unknown API': { id, provider: 'demo', model: 'demo', api: 'chat' },
      'a message without parts': { id, provider: 'demo', model: 'demo', message: { id, parts: [] } },
    },
  },
  'chats.send': {
    role: 'user',
    taken: { chatId: id, ...message },
    rejected: {
      'a message above 1 MiB': { chatId: id, id, parts: [{ type: 'text', text: 'x'.repeat(1024 * 1024) }] },
      'more than 200 parts': { chatId: id, id, parts: Array.from({ length: 201 }, () => text) },
      'a part of the model': { chatId: id, id, parts: [{ type: 'tool-result', toolCallId: 'a', output: 'b' }] },
      'lines that end before they begin': {
        chatId: id,
        id,
        parts: [{ type: 'file-reference', name: 'a.ts', startLine: 2, endLine: 1, content: '' }],
      },
    },
  },
  'chats.edit': {
    role: 'user',
    taken: { chatId: id, messageId: id, ...message },
    rejected: { 'no old message': { chatId: id, ...message } },
  },
  'chats.interrupt': { role: 'user', taken: { chatId: id }, rejected: { 'no chat': {} } },
  'chats.dequeue': { role: 'user', taken: { chatId: id, id }, rejected: { 'no message': { chatId: id } } },
  'chats.promote': { role: 'user', taken: { chatId: id, id }, rejected: { 'no message': { chatId: id } } },
  'chats.retry': { role: 'user', taken: { chatId: id }, rejected: { 'no chat': {} } },
  'chats.archive': { role: 'user', taken: { chatId: id, archived: true }, rejected: { 'no wish': { chatId: id } } },
  'chats.get': { role: 'user', isRead: true, taken: { chatId: id }, rejected: { 'an id with NUL': { chatId: nul } } },
  'chats.list': { role: 'user', isRead: true, taken: {}, rejected: { 'a limit of 0': { limit: 0 } } },
  'chats.messages': {
    role: 'user',
    isRead: true,
    taken: { chatId: id },
    rejected: { 'a negative place': { chatId: id, after: -1 } },
  },
  'chats.watch': {
    role: 'user',
    isRead: true,
    taken: { chatId: id },
    rejected: { 'a long event id': { chatId: id, lastEventId: '1'.repeat(129) } },
  },
  'chats.watchAll': { role: 'user', isRead: true },
}

const table: Readonly<Record<string, Row>> = {
  ...chatRows,
  'recorder.recordInterception': {
    role: 'daemon',
    taken: interception,
    rejected: { 'a missing model': { ...interception, model: undefined }, 'no id': { ...interception, id: 'x' } },
  },
  'recorder.recordInterceptionEnded': {
    role: 'daemon',
    taken: { id, endedAt: at },
    rejected: { 'a time that is text': { id, endedAt: 'today' }, 'a missing time': { id } },
  },
  'recorder.recordTokenUsage': {
    role: 'daemon',
    taken: tokenUsage,
    rejected: { 'a negative count': { ...tokenUsage, inputTokens: -1 }, 'no counts': child },
  },
  'recorder.recordPromptUsage': {
    role: 'daemon',
    taken: { ...child, prompt: 'hello' },
    rejected: { 'a prompt that is a number': { ...child, prompt: 1 } },
  },
  'recorder.recordToolUsage': {
    role: 'daemon',
    taken: { ...child, tool: 'read', input: '{}', injected: false },
    rejected: { 'a missing tool': { ...child, injected: false }, 'a tool that is a list': { ...child, tool: [] } },
  },
  'recorder.recordModelThought': {
    role: 'daemon',
    taken: { id, interceptionId: id, createdAt: at, content: 'well' },
    rejected: { 'content that is missing': { id, interceptionId: id, createdAt: at } },
  },
  'recorder.endAbandoned': {
    role: 'daemon',
    taken: { daemonInstances: [id] },
    rejected: {
      'no list': {},
      'an empty list': { daemonInstances: [] },
      'an instance that is no UUID': { daemonInstances: ['x'] },
      'more than 100 instances': { daemonInstances: Array(101).fill(id) },
    },
  },
  'recorder.ready': { role: 'daemon' },
  'recorder.recordBatch': {
    role: 'daemon',
    taken: { records: [{ kind: 'interception', ...interception }] },
    rejected: { 'no list': { records: 'all' }, 'more than 1,000 records': { records: Array(1_001).fill({}) } },
  },
  'recorder.watchErasures': {
    role: 'daemon',
    taken: { outboxId: id, isDurable: true },
    rejected: { 'an outbox without an id': { isDurable: true }, 'an outbox that may be durable': { outboxId: id } },
  },
  'recorder.confirmErasures': {
    role: 'daemon',
    taken: { outboxId: id, erasures: [{ erasureId: id, records: 0 }] },
    rejected: {
      'no erasures': { outboxId: id, erasures: [] },
      'more than 100 erasures': { outboxId: id, erasures: Array(101).fill({ erasureId: id, records: 0 }) },
      'a negative number of records': { outboxId: id, erasures: [{ erasureId: id, records: -1 }] },
      'an erasure that is no id': { outboxId: id, erasures: [{ erasureId: 'x', records: 1 }] },
    },
  },
  'recorder.retireOutbox': { role: 'daemon', taken: { outboxId: id }, rejected: { 'no outbox': {} } },
  'authorizer.isAuthorized': {
    role: 'daemon',
    taken: { key: 'abcdefghij-abcdefghijklmnopqrstuv' },
    rejected: { 'a key that is a list': { key: [] } },
  },
  'mcpConfigurator.getServerConfigs': {
    role: 'daemon',
    taken: { userId: id },
    rejected: { 'a user that is no id': { userId: 'ada' } },
  },
  'mcpConfigurator.getServerAccessTokensBatch': {
    role: 'daemon',
    taken: { userId: id, serverIds: ['wiki'] },
    rejected: { 'no servers': { userId: id }, 'a server that is a number': { userId: id, serverIds: [1] } },
  },
  'conversations.open': {
    role: 'daemon',
    taken: { userId: id, key: digits },
    rejected: {
      'a user that is no id': { userId: 'ada', key: digits },
      'a key that is too short': { userId: id, key: 'ab' },
      'a place before the first turn': { userId: id, key: digits, after: -1 },
    },
  },
  'conversations.pin': {
    role: 'daemon',
    taken: { userId: id, key: digits, tools: [tool] },
    rejected: {
      'no tools': { userId: id, key: digits, tools: [] },
      'a tool with a name that models do not take': { userId: id, key: digits, tools: [{ ...tool, fullName: 'a b' }] },
      'a schema that is no object': { userId: id, key: digits, tools: [{ ...tool, inputSchema: [] }] },
      'a schema that holds a time': { userId: id, key: digits, tools: [{ ...tool, inputSchema: { at: new Date() } }] },
    },
  },
  'conversations.keep': {
    role: 'daemon',
    taken: { userId: id, key: digits, id, turn },
    rejected: {
      'a turn that is text': { userId: id, key: digits, id, turn: 'x' },
      'no round': { userId: id, key: digits, id, turn: { ...turn, rounds: [] } },
      'a round that is no object': { userId: id, key: digits, id, turn: { ...turn, rounds: [1] } },
      'an id that is none': { userId: id, key: digits, id: 'x', turn },
    },
  },
  'providerConfigurator.getProviders': { role: 'daemon' },
  'providerConfigurator.watchProviders': { role: 'daemon' },
  'providerConfigurator.reportKey': {
    role: 'daemon',
    taken: { provider: 'work', keyId: 'k', revision: '2026-05-01T12:00:00.000Z', status: 401 },
    rejected: {
      'another status': { provider: 'work', keyId: 'k', revision: 'r', status: 500 },
      'no key': { provider: 'work', revision: 'r', status: 401 },
    },
  },
  'admin.users.create': {
    role: 'admin',
    taken: { username: 'ada' },
    rejected: { 'a name with a blank': { username: 'a b' }, 'no name': {} },
  },
  'admin.users.list': { role: 'admin' },
  'admin.users.setStatus': {
    role: 'admin',
    taken: { user: 'ada', status: 'suspended' },
    rejected: { 'an unknown status': { user: 'ada', status: 'asleep' } },
  },
  'admin.users.delete': {
    role: 'admin',
    taken: { user: 'ada' },
    rejected: { 'no user': {}, 'an empty user': { user: '' } },
  },
  'admin.users.purge': {
    role: 'admin',
    taken: { user: 'ada' },
    rejected: { 'no user': {}, 'an empty user': { user: '' } },
  },
  'admin.apiKeys.create': {
    role: 'admin',
    taken: { user: 'ada' },
    rejected: { 'a time that is text': { user: 'ada', expiresAt: 'soon' }, 'no user': {} },
  },
  'admin.apiKeys.list': { role: 'admin', taken: {}, rejected: { 'a user that is a number': { user: 1 } } },
  'admin.apiKeys.expire': {
    role: 'admin',
    taken: { id: 'abcdefghij' },
    rejected: { 'no id': {}, 'an id of another length': { id: 'a' } },
  },
  'admin.apiKeys.delete': {
    role: 'admin',
    taken: { id: 'abcdefghij' },
    rejected: { 'no id': {}, 'an id of another length': { id: 'a' } },
  },
  'admin.daemonKeys.create': { role: 'admin', taken: {}, rejected: { 'an empty name': { name: '' } } },
  'admin.agents.create': {
    role: 'admin',
    taken: { name: 'builder', user: 'ada' },
    rejected: { 'a name that is a UUID': { name: id, user: 'ada' }, 'no owner': { name: 'builder' } },
  },
  'admin.agents.list': { role: 'admin' },
  'admin.agents.revoke': { role: 'admin', taken: { agent: 'builder' }, rejected: { 'no agent': {} } },
  'admin.agents.start': {
    role: 'admin',
    taken: { agent: 'builder', id: 'p', command: 'true', background: false },
    rejected: {
      'an empty command': { agent: 'builder', id: 'p', command: '', background: false },
      'no agent': { id: 'p', command: 'true', background: false },
    },
  },
  'admin.agents.output': {
    role: 'admin',
    taken: { agent: 'builder', id: 'p', waitMs: 0, instanceId: id },
    rejected: { 'a wait of an hour': { agent: 'builder', id: 'p', waitMs: 3_600_000 } },
  },
  'admin.agents.processes': { role: 'admin', taken: { agent: 'builder' }, rejected: { 'no agent': {} } },
  'admin.agents.signal': {
    role: 'admin',
    taken: { agent: 'builder', id: 'p', signal: 'kill' },
    rejected: { 'another signal': { agent: 'builder', id: 'p', signal: 'stop' } },
  },
  'admin.daemonKeys.list': { role: 'admin' },
  'admin.daemonKeys.revoke': { role: 'admin', taken: { id: 'abcdefghij' }, rejected: { 'no id': {} } },
  'admin.providers.upsert': {
    role: 'admin',
    taken: { name: 'work', type: 'anthropic' },
    rejected: {
      'a name with a slash': { name: 'a/b' },
      'an unknown type': { name: 'work', type: 'abacus' },
      'a base URL that is none': { name: 'work', baseUrl: 'there' },
    },
  },
  'admin.providers.list': { role: 'admin' },
  'admin.providers.setEnabled': {
    role: 'admin',
    taken: { name: 'work', enabled: true },
    rejected: { 'enabled that is text': { name: 'work', enabled: 'yes' } },
  },
  'admin.providers.remove': { role: 'admin', taken: { name: 'work' }, rejected: { 'no name': {} } },
  'admin.providers.keys.add': {
    role: 'admin',
    taken: { name: 'work', keys: ['sk-1'] },
    rejected: { 'a key with a blank': { name: 'work', keys: ['a b'] }, 'no keys': { name: 'work', keys: [] } },
  },
  'admin.providers.keys.remove': {
    role: 'admin',
    taken: { name: 'work', ids: ['k'] },
    rejected: { 'no ids': { name: 'work', ids: [] } },
  },
  'admin.providers.keys.order': {
    role: 'admin',
    taken: { name: 'work', ids: ['k'] },
    rejected: { 'no ids': { name: 'work', ids: [] } },
  },
  'admin.providers.test': { role: 'admin', taken: { name: 'work' }, rejected: { 'no name': {} } },
  'admin.mcpServers.upsert': {
    role: 'admin',
    taken: { id: 'wiki', url: 'https://wiki.example.com/mcp' },
    rejected: {
      'a URL that is none': { id: 'wiki', url: 'there' },
      'a pattern that is none': { id: 'wiki', url: 'https://wiki.example.com/mcp', toolAllowRegex: '(' },
    },
  },
  'admin.mcpServers.list': { role: 'admin' },
  'admin.mcpServers.test': {
    role: 'admin',
    taken: { id: 'wiki', user: 'ada' },
    rejected: { 'no user': { id: 'wiki' }, 'no server': { user: 'ada' } },
  },
  'admin.mcpServers.remove': { role: 'admin', taken: { id: 'wiki' }, rejected: { 'no id': {} } },
  'admin.externalAuthLinks.set': {
    role: 'admin',
    taken: { user: 'ada', serverId: 'wiki', accessToken: 'token' },
    rejected: { 'no token': { user: 'ada', serverId: 'wiki' } },
  },
  'admin.externalAuthLinks.list': { role: 'admin', taken: {}, rejected: { 'a user that is a number': { user: 1 } } },
  'admin.externalAuthLinks.remove': {
    role: 'admin',
    taken: { user: 'ada', serverId: 'wiki' },
    rejected: { 'no server': { user: 'ada' } },
  },
  'admin.interceptions.list': {
    role: 'admin',
    taken: {},
    rejected: { 'a limit that is text': { limit: 'all' }, 'a limit of 0': { limit: 0 } },
  },
  'admin.interceptions.get': { role: 'admin', taken: { id }, rejected: { 'no id': {}, 'an id with NUL': { id: nul } } },
  'admin.usage': { role: 'admin', taken: {}, rejected: { 'a time that is text': { from: 'monday' } } },
  'admin.usageExport': { role: 'admin', taken: {}, rejected: { 'a group that is none': { by: ['colour'] } } },
  'admin.prices.list': { role: 'admin', taken: {}, rejected: { 'a time that is text': { since: 'monday' } } },
  'admin.prices.set': {
    role: 'admin',
    taken: { model: 'm', rates: { input: { base: '1' }, output: { base: '2' } } },
    rejected: { 'no price': { model: 'm' }, 'a model that is a number': { model: 1, multipliers: {} } },
  },
  'admin.prices.remove': { role: 'admin', taken: { model: 'm' }, rejected: { 'no model': {} } },
  'admin.prices.explain': {
    role: 'admin',
    taken: { provider: 'anthropic', model: 'm' },
    rejected: { 'no provider': { model: 'm' } },
  },
  'admin.prices.backfill': { role: 'admin', taken: {}, rejected: { 'a limit of 0': { limit: 0 } } },
  'admin.secrets.rotate': { role: 'admin' },
  'admin.audit.list': { role: 'admin', taken: {}, rejected: { 'an unknown action': { action: 'users.make' } } },
  'admin.watch': { role: 'admin', taken: {}, rejected: { 'an event id that is a list': { lastEventId: [] } } },
}

const identities: Readonly<Record<Identity['role'], Identity>> = {
  admin: { role: 'admin', name: 'an admin' },
  daemon: { role: 'daemon', name: 'a daemon', delegate: true },
  user: { role: 'user', name: 'a user', userId: id, apiKeyId: 'abcdefghij' },
}
const roles: readonly Identity['role'][] = ['admin', 'daemon', 'user']

/** The part that tRPC shows of a procedure; the type of `appRouter` is that of the nested router. */
interface Procedure {
  _def: { type: 'query' | 'mutation' | 'subscription'; inputs: unknown[] }
}
const procedures: Readonly<Record<string, Procedure>> = Object(appRouter._def.procedures)

const reached = new Error('the call reached a service')

/** Services of which every use throws {@link reached}. */
const services: Services = new Proxy(
  Object(() => {}),
  {
    get: (_target, name) => (name === 'then' ? undefined : services),
    apply: () => {
      throw reached
    },
  },
)

/** Calls a procedure and returns what it threw; of a subscription, also what its first item threw. */
async function thrownBy(path: string, role: Identity['role'], input: unknown): Promise<unknown> {
  const ctx: Context = { identity: identities[role], services }
  const type = procedures[path]?._def.type ?? 'query'
  const getRawInput = async () => input
  const signal = new AbortController().signal
  try {
    const result = await callTRPCProcedure({ router: appRouter, path, getRawInput, ctx, type, signal, batchIndex: 0 })
    const items: AsyncIterable<unknown> | undefined = Object(result)[Symbol.asyncIterator] && Object(result)
    for await (const item of items ?? []) return item
    return 'nothing'
  } catch (error) {
    return error
  }
}

test('every procedure has a row with its role and its inputs', () => {
  expect(Object.keys(table).sort()).toEqual(Object.keys(procedures).sort())
  for (const [path, { _def }] of Object.entries(procedures)) {
    const { taken, rejected } = table[path] ?? {}
    const hasInput = _def.inputs.length > 0
    const inputs = { taken: taken !== undefined, rejected: Object.keys(rejected ?? {}).length > 0 }
    expect({ path, ...inputs }).toEqual({ path, taken: hasInput, rejected: hasInput })
  }
})

describe.each(Object.entries(table))('%s', (path, { role, isRead = false, taken, rejected = {} }) => {
  test(`the procedure is for the role ${role}`, async () => {
    for (const other of roles) {
      const thrown = await thrownBy(path, other, taken)
      if (other === role || (isRead && other === 'admin')) {
        expect((await causeOf(Promise.resolve(thrown))).message).toBe(reached.message)
      } else {
        expect(RpcError.from(thrown)).toMatchObject({
          code: 'FORBIDDEN',
          message: expect.stringContaining(`needs the role ${role}`),
        })
      }
    }
  })

  test.each(Object.entries(rejected))(
    'the procedure rejects %s before any service is reached',
    async (_rule, input) => {
      expect(RpcError.from(await thrownBy(path, role, input))).toMatchObject({ code: 'BAD_REQUEST' })
    },
  )
})

// A strict schema without the field rejects the first resume; a schema that drops the field begins anew.
test.each(Object.keys(table).filter(path => procedures[path]?._def.type === 'subscription'))(
  'the input of %s takes the lastEventId of a resume',
  async path => {
    const { role = 'admin', taken } = table[path] ?? {}
    expect((await causeOf(thrownBy(path, role, { ...taken, lastEventId: '5' }))).message).toBe(reached.message)
    for (const { schema } of (procedures[path]?._def.inputs ?? []) as CheckedInput<z.ZodType>[]) {
      expect(schema.parse({ ...taken, lastEventId: '5' })).toMatchObject({ lastEventId: '5' })
    }
  },
)

/** tRPC wraps errors that are none of its own. */
async function causeOf(thrown: Promise<unknown>): Promise<Error> {
  const error = await thrown
  if (!(error instanceof Error)) throw new Error(`no error was thrown: ${String(error)}`)
  return error.cause instanceof Error ? error.cause : error
}
