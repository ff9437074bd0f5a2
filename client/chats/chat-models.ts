/** The models of chats: the official SDKs of the AI providers, on top of a bridge in the same process. */
import type { ChatModels, ModelCall, ModelRequest, ModelResponse } from '../../server/services/chats/model.js'
import type { ChatApi } from '../../shared/contract/chats.js'
import type { BridgeDaemon } from '../bridge/daemon.js'
import { createBridgeFetch } from '../bridge/in-process/fetch.js'
import type { RejectionReason } from '../bridge/wire/rejection.js'
import { callAnthropicMessages } from './anthropic-messages.js'
import type { CallApi } from './api-call.js'
import { boundedFetch } from './bounded-fetch.js'
import { modelErrorOf } from './model-errors.js'
import { callOpenaiChat } from './openai-chat.js'
import { callOpenaiResponses } from './openai-responses.js'
import { OptionalFields } from './optional-fields.js'
import { ResponseParts } from './response-parts.js'

const apis: Readonly<Record<ChatApi, CallApi>> = {
  'anthropic-messages': callAnthropicMessages,
  'openai-responses': callOpenaiResponses,
  'openai-chat': callOpenaiChat,
}

/**
 * Makes the models of chats. Every call is a request to the bridge of `daemon`, on the owner of the key that the call
 * names, and is recorded like any other; the session of its record is the chat. No call is repeated here.
 */
export function createChatModels({ daemon }: { daemon: Pick<BridgeDaemon, 'serve'> }): ChatModels {
  const optional = new OptionalFields()
  return { call: (request, call) => callModel(daemon, optional, request, call) }
}

async function callModel(
  daemon: Pick<BridgeDaemon, 'serve'>,
  optional: OptionalFields,
  request: ModelRequest,
  { signal, onPart, onInterception }: ModelCall,
): Promise<ModelResponse> {
  let rejection: RejectionReason | undefined
  const bridgeFetch = createBridgeFetch(daemon, {
    provider: request.provider,
    source: 'agents',
    keyId: request.keyId,
    sessionId: request.chatId,
    onInterception,
    onRejection: reason => {
      rejection = reason
    },
  })
  const parts = new ResponseParts(onPart)
  try {
    signal.throwIfAborted()
    const response = await apis[request.api](request, { fetch: boundedFetch(bridgeFetch), signal, parts, optional })
    return { parts: parts.finish(), ...response }
  } catch (error) {
    throw modelErrorOf(error, signal, rejection)
  }
}
