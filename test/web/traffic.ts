/** Made-up traffic: users, keys, providers, and the records of their requests over some days. */
import { randomUUID } from 'node:crypto'
import type { BatchRecord } from '../../shared/contract/recorder.js'
import type { Gateway } from './running-page.js'

/** Returns numbers in [0, 1) that are the same for each run. */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const people = ['ada', 'grace', 'linus', 'margaret', 'dennis', 'barbara', 'ci-runner'] as const
const models = [
  ['anthropic', 'anthropic', 'claude-sonnet-4-5-20250929', 'claude-code'],
  ['anthropic', 'anthropic', 'claude-opus-4-5-20251101', 'claude-code'],
  ['anthropic', 'anthropic', 'claude-haiku-4-5-20251001', 'claude-code'],
  ['openai', 'openai', 'gpt-5-codex', 'codex'],
  ['openai', 'openai', 'gpt-5-mini', 'opencode'],
  ['openai', 'local-llama', 'llama-3.3-70b', 'cline'],
] as const
const prompts = [
  'Why does the retry loop in outbox.ts spin when the control plane returns 503? Find the cause and write a failing test first.',
  'Rename UserRow to AccountRow across the project and run the tests.',
  'Explain this stack trace:\n\nTypeError: Cannot read properties of undefined (reading "id")\n    at findOwner (server/services/owners.ts:42:17)',
  'Write a migration that adds an index on interceptions(started_at, provider_name), and measure the plan before and after.',
  'Summarise the discussion so far in five sentences.',
]
const tools = [
  ['Bash', '{"command":"npx vitest run test/outbox.test.ts","description":"Run the outbox tests"}'],
  ['Read', '{"file_path":"/work/client/bridge/outbox/memory-outbox.ts","offset":40,"limit":80}'],
  [
    'Edit',
    '{"file_path":"/work/server/retry.ts","old_string":"while (true)","new_string":"for (const delay of delays)"}',
  ],
  ['bmcp_tickets_search', '{"query":"retry loop","limit":5}'],
] as const
const errors = ['rate_limited', 'overloaded', 'client_closed', 'server_error', 'timeout'] as const

/** Makes users and keys. Returns them. */
export async function makePeople({ operator }: Gateway) {
  const owners: { id: string; username: string; keyId: string; key: string }[] = []
  for (const username of people) {
    const { id } = await operator.users.create.mutate({ username })
    const { id: keyId, key } = await operator.apiKeys.create.mutate({ user: id, name: 'laptop' })
    owners.push({ id, username, keyId, key })
  }
  return owners
}

/** Makes the providers of the traffic. */
export async function makeProviders({ operator }: Gateway): Promise<void> {
  await operator.providers.upsert.mutate({
    name: 'anthropic',
    type: 'anthropic',
    keys: ['sk-ant-made-up-0001-abcd', 'sk-ant-made-up-0002-efgh'],
  })
  await operator.providers.upsert.mutate({ name: 'openai', type: 'openai', keys: ['sk-made-up-openai-key-wxyz'] })
  await operator.providers.upsert.mutate({
    name: 'local-llama',
    type: 'openai',
    baseUrl: 'http://10.0.0.12:8000/v1',
    enabled: false,
  })
}

interface Amount {
  days: number
  perDay: number
  seed?: number
}

/** Records requests of some days, the last one a minute ago. */
export async function makeTraffic(
  gateway: Gateway,
  owners: Awaited<ReturnType<typeof makePeople>>,
  { days, perDay, seed = 7 }: Amount,
) {
  const random = randomFrom(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T // the list is not empty
  let batch: BatchRecord[] = []
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await gateway.recorder.recordBatch.mutate({ records: batch })
    batch = []
  }
  const end = Date.now() - 60_000
  for (let day = days - 1; day >= 0; day--) {
    const weekday = new Date(end - day * 86_400_000).getDay()
    const count = Math.round(
      perDay * (weekday === 0 || weekday === 6 ? 0.3 : 1) * (0.7 + 0.6 * random()) * (1 - day / days / 2),
    )
    const sessions = new Map<string, { id: string; last?: string; toolCall?: string }>()
    const times = Array.from(
      { length: count },
      () => end - day * 86_400_000 - random() * (day === 0 ? 8 : 11) * 3_600_000,
    ).sort()
    for (const at of times) {
      const owner = pick(owners)
      const [provider, providerName, model, client] = random() < 0.45 ? models[0] : pick(models)
      const sessionKey = `${owner.id} ${client}`
      if (!sessions.has(sessionKey) || random() < 0.12) sessions.set(sessionKey, { id: randomUUID() })
      const session = sessions.get(sessionKey) ?? { id: randomUUID() }
      const id = randomUUID()
      const msgId = `msg_${id.slice(0, 8)}`
      const length = 800 + random() ** 3 * 90_000
      const toolCallId = `toolu_${id.slice(0, 12)}`
      const hasTool = random() < 0.5
      const created = (ms: number) => new Date(at + ms)
      batch.push({
        kind: 'interception',
        id,
        initiatorId: owner.id,
        apiKeyId: owner.keyId,
        provider,
        providerName,
        model,
        client,
        startedAt: created(0),
        clientSessionId: session.id,
        userAgent: `${client}/2.1 (linux)`,
        ...(session.toolCall !== undefined && { correlatingToolCallId: session.toolCall }),
        credentialHint: provider === 'anthropic' ? 'sk-a…abcd' : 'sk-m…wxyz',
        metadata: random() < 0.08 ? { request_kind: 'title' } : { service_tier: 'standard' },
      })
      delete session.toolCall
      batch.push({
        kind: 'tokenUsage',
        id: randomUUID(),
        interceptionId: id,
        msgId,
        inputTokens: Math.round(random() * 900),
        outputTokens: Math.round(80 + random() ** 2 * 3_000),
        cacheReadInputTokens: Math.round(random() * 60_000),
        cacheWriteInputTokens: Math.round(random() * 4_000),
        createdAt: created(length),
      })
      if (!hasTool)
        batch.push({
          kind: 'promptUsage',
          id: randomUUID(),
          interceptionId: id,
          msgId,
          prompt: pick(prompts),
          createdAt: created(1),
        })
      if (random() < 0.3)
        batch.push({
          kind: 'modelThought',
          id: randomUUID(),
          interceptionId: id,
          content:
            'The loop has no delay, so a 503 makes it spin. The delays of the dialler fit here: random, at most ten seconds. A test with a fake clock comes first.',
          createdAt: created(length / 2),
        })
      if (hasTool) {
        const [tool, input] = pick(tools)
        batch.push({
          kind: 'toolUsage',
          id: randomUUID(),
          interceptionId: id,
          msgId,
          toolCallId,
          tool,
          input,
          injected: tool.startsWith('bmcp_'),
          createdAt: created(length),
        })
        session.toolCall = toolCallId
      }
      const error = random() < 0.05 ? pick(errors) : undefined
      batch.push({
        kind: 'interceptionEnded',
        id,
        endedAt: created(length),
        ...(error && { errorType: error, errorMessage: `The provider answered: ${error.replace('_', ' ')}.` }),
      })
      if (batch.length > 450) await flush()
    }
  }
  await flush()
}

/** Makes agents, MCP servers, keys of daemons and chats. */
export async function makeOthers(gateway: Gateway, owners: Awaited<ReturnType<typeof makePeople>>) {
  const { operator } = gateway
  const [first, second] = owners
  if (!first || !second) throw new Error('two people are needed')
  await operator.mcpServers.upsert.mutate({
    id: 'tickets',
    url: 'https://mcp.example.com/tickets',
    inject: true,
    toolDenyRegex: 'delete',
  })
  await operator.mcpServers.upsert.mutate({
    id: 'wiki',
    url: 'https://mcp.example.com/wiki',
    toolAllowRegex: '^(search|read)$',
  })
  await operator.externalAuthLinks.set.mutate({
    user: first.id,
    serverId: 'tickets',
    accessToken: 'made-up',
    refreshToken: 'made-up',
    expiresAt: new Date(Date.now() + 3_600_000),
  })
  await operator.daemonKeys.create.mutate({ name: 'office-berlin' })
  await operator.daemonKeys.create.mutate({
    name: 'ci',
    delegate: true,
    expiresAt: new Date(Date.now() + 5 * 86_400_000),
  })
  await operator.agents.create.mutate({ name: 'builder', user: first.id })
  await operator.agents.create.mutate({ name: 'laptop-grace', user: second.id })
  await gateway.runAgent('builder')
  for (const command of ['git status --short', 'printf "one\\ntwo\\n"; exit 3', 'sleep 600']) {
    await operator.agents.start.mutate({ agent: 'builder', id: randomUUID(), command, background: true })
  }
  const chat = await gateway.beginChat(first, 'Why does the retry loop spin? Explain it in two sentences.')
  await gateway.beginChat(second, 'Rename UserRow to AccountRow.')
  return { chat }
}
