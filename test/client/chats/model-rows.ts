/** The APIs of chats, as a table: the recorded conversations of the bridge, and a request. */
import { join } from 'node:path'
import type { ModelRequest } from '../../../server/services/chats/model.js'
import type { ChatApi } from '../../../shared/contract/chats.js'
import { readTxtar, sectionOf } from '../../fixtures/txtar.js'
import { testOwner } from '../bridge/scripted-control-plane.js'

export interface ModelRow {
  api: ChatApi
  provider: 'anthropic' | 'openai'
  /** Returns the recorded stream of a conversation. */
  stream(fixture: string): string
  /** Returns an error of the provider in the API's shape, with a code or type. */
  error(name: string): object
}

function row(api: ChatApi, provider: 'anthropic' | 'openai', folder: string, error: ModelRow['error']): ModelRow {
  const path = join(import.meta.dirname, '../../fixtures/responses', folder)
  return { api, provider, error, stream: fixture => sectionOf(readTxtar(join(path, `${fixture}.txtar`)), 'streaming') }
}

const openaiError = (code: string) => ({ error: { message: 'no', type: 'x', code } })

export const modelRows: ModelRow[] = [
  row('anthropic-messages', 'anthropic', 'anthropic', type => ({ type: 'error', error: { type, message: 'no' } })),
  row('openai-responses', 'openai', 'openai-responses', openaiError),
  row('openai-chat', 'openai', 'openai-chat', openaiError),
]

/** Makes a request with one message of a user. */
export function requestFor(
  { api, provider }: Pick<ModelRow, 'api' | 'provider'>,
  changes: Partial<ModelRequest> = {},
): ModelRequest {
  return {
    provider,
    api,
    model: 'model-1',
    system: null,
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'hello' }] }],
    tools: [],
    keyId: testOwner.apiKeyId,
    chatId: '0198c5d4-0000-7000-8000-00000000c4a7',
    ...changes,
  }
}
