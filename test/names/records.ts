/** One record of each kind, with every field. */
import { randomUUID } from 'node:crypto'
import type { BridgeClient } from '../../client/bridge-client.js'

/** Records a request of a user with all of its children, and its end with an error. Returns the interception's id. */
export async function recordEverything(recorder: BridgeClient['recorder'], initiatorId: string): Promise<string> {
  const [id, now] = [randomUUID(), new Date()]
  const child = () => ({ id: randomUUID(), interceptionId: id, msgId: 'msg_1', createdAt: now })
  await recorder.recordInterception.mutate({
    id,
    initiatorId,
    apiKeyId: 'k'.repeat(10),
    provider: 'anthropic',
    providerName: 'demo',
    model: 'claude',
    startedAt: now,
    client: 'curl',
    userAgent: 'curl/8',
    clientSessionId: 'session',
    correlatingToolCallId: 'call_0',
    credentialHint: 'sk-…1234',
  })
  await recorder.recordTokenUsage.mutate({
    ...child(),
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 3,
    cacheWriteInputTokens: 4,
  })
  await recorder.recordPromptUsage.mutate({ ...child(), prompt: 'a prompt' })
  await recorder.recordToolUsage.mutate({
    ...child(),
    toolCallId: 'call_1',
    itemId: 'item_1',
    serverUrl: 'https://mcp.example.com',
    tool: 'read',
    input: '{}',
    injected: true,
    invocationError: 'an error',
  })
  const { msgId: _, ...thought } = child()
  await recorder.recordModelThought.mutate({ ...thought, content: 'a thought' })
  const end = { credentialHint: 'sk-…1234', errorType: 'timeout', errorMessage: 'too late' } as const
  await recorder.recordInterceptionEnded.mutate({ id, endedAt: now, ...end })
  return id
}
