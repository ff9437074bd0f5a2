/**
 * The reasons of this service, beside the transport's. Each reason belongs to one procedure, to the identity of a peer,
 * or to a process. Callers match on `code` and `reason`, never on a message.
 */
import { errorFactory, type ReasonTable, reasonOf, transportReasons } from '../rpc/errors.js'

/**
 * Reason → code of the errors, and meaning. A reason without a code occurs with several codes; `new RpcError` makes
 * such errors.
 */
export const errorReasons = {
  ...transportReasons,
  // authorizer
  ambiguous_auth: { code: 'BAD_REQUEST', meaning: 'give either key or keyId' },
  invalid_key: { code: 'UNAUTHORIZED', meaning: 'malformed, or the secret differs' },
  unknown_key: { code: 'UNAUTHORIZED', meaning: 'no such key' },
  expired: { code: 'UNAUTHORIZED', meaning: 'the key has expired or was revoked' },
  unknown_user: { code: 'UNAUTHORIZED', meaning: 'the owner of the key does not exist' },
  deleted_user: { meaning: 'the owner of the key was deleted' },
  inactive_user: { code: 'UNAUTHORIZED', meaning: 'the owner of the key is suspended' },
  system_user: { meaning: 'system users do not use keys' },
  delegation_not_allowed: { code: 'FORBIDDEN', meaning: 'the connection has no delegate capability' },
  // identity of an admin or daemon
  key_missing: { code: 'UNAUTHORIZED', meaning: 'no credentials were given' },
  key_invalid: { code: 'UNAUTHORIZED', meaning: 'the credentials are not valid' },
  key_expired: { code: 'UNAUTHORIZED', meaning: 'the credentials are no longer valid' },
  key_revoked: { code: 'FORBIDDEN', meaning: 'the credentials were taken back' },
  // recorder
  unknown_interception: { code: 'NOT_FOUND', meaning: 'no interception has this id' },
  content_differs: { code: 'CONFLICT', meaning: 'the id was used for other content' },
  // conversations
  conversation_full: { code: 'PRECONDITION_FAILED', meaning: 'the conversation takes no turn of this size' },
  // admin
  unknown_row: { code: 'NOT_FOUND', meaning: 'no row has this id or name' },
  ambiguous_id: { code: 'BAD_REQUEST', meaning: 'several rows have this short id' },
  event_expired: { code: 'PRECONDITION_FAILED', meaning: 'what came after this event is not kept any more' },
  name_taken: { code: 'CONFLICT', meaning: 'another row has this name' },
  // processes of agents
  unknown_process: { code: 'NOT_FOUND', meaning: 'no process has this id, or it belongs to another scope' },
  input_differs: { code: 'CONFLICT', meaning: 'the id was used to start something else' },
  cancelled: { code: 'PRECONDITION_FAILED', meaning: 'the process was cancelled before its start, and will not start' },
  dir_not_found: { code: 'BAD_REQUEST', meaning: 'the directory of the command does not exist, or cannot be entered' },
  not_started: { code: 'PRECONDITION_FAILED', meaning: 'the operating system did not start the command' },
  not_running: { code: 'PRECONDITION_FAILED', meaning: 'the process has ended' },
  output_gone: { code: 'PRECONDITION_FAILED', meaning: 'the process has ended, and its output is not kept any more' },
  too_many_processes: { code: 'TOO_MANY_REQUESTS', meaning: 'as many processes run as may run at once' },
  agent_unreachable: { code: 'SERVICE_UNAVAILABLE', meaning: 'the agent is not connected' },
  agent_restarted: {
    code: 'PRECONDITION_FAILED',
    meaning: 'the agent was started anew: its processes are gone, and their outcome is unknown',
  },
  agent_invalid: { code: 'PRECONDITION_FAILED', meaning: 'the response of the agent breaks a rule of the contract' },
  replaced: { code: 'FORBIDDEN', meaning: 'another process uses the key of the agent' },
  // chats
  unknown_chat: { code: 'NOT_FOUND', meaning: 'no chat has this id, or it belongs to another user' },
  unknown_message: { code: 'NOT_FOUND', meaning: 'the chat has no such message' },
  chat_busy: { code: 'PRECONDITION_FAILED', meaning: 'a turn of the chat runs or is being interrupted' },
  chat_archived: { code: 'PRECONDITION_FAILED', meaning: 'the chat is archived' },
  chat_idle: { code: 'PRECONDITION_FAILED', meaning: 'the last turn of the chat did not fail' },
  chat_full: {
    code: 'PRECONDITION_FAILED',
    meaning: 'the chat has as many messages, or as many bytes, as a chat may have',
  },
  queue_full: { code: 'TOO_MANY_REQUESTS', meaning: 'as many messages or bytes wait as may wait' },
  chats_need_content: { code: 'PRECONDITION_FAILED', meaning: 'the server does not record content, so chats are off' },
  // commands
  provider_failed: { code: 'PRECONDITION_FAILED', meaning: 'the provider did not list its models' },
  mcp_server_failed: { code: 'PRECONDITION_FAILED', meaning: 'the MCP server did not list its tools' },
  // stores and processes
  config_invalid: { meaning: 'the configuration breaks a rule' },
  data_in_use: { code: 'PRECONDITION_FAILED', meaning: 'another process uses the data directory or the outbox' },
  database_corrupt: { code: 'PRECONDITION_FAILED', meaning: 'the database cannot be opened' },
  database_newer: { code: 'PRECONDITION_FAILED', meaning: 'the database was migrated by a newer version' },
  database_unreachable: {
    code: 'PRECONDITION_FAILED',
    meaning: 'the database server cannot be reached, or rejects the login',
  },
  import_refused: { code: 'PRECONDITION_FAILED', meaning: 'there is nothing to import, or the target is not empty' },
  outbox_unwritable: { code: 'PRECONDITION_FAILED', meaning: 'the folder of the outbox cannot be opened or written' },
  port_in_use: { code: 'PRECONDITION_FAILED', meaning: 'another process listens on the port' },
  server_unreachable: { code: 'SERVICE_UNAVAILABLE', meaning: 'no server responds at the address' },
} as const satisfies ReasonTable

/** A reason of {@link errorReasons}. */
export type ErrorReason = keyof typeof errorReasons

/** Creates an error with a reason that has one code: `rpcError('unknown_row', 'no user has the name x')`. */
export const rpcError = errorFactory(errorReasons)

/**
 * Returns the reason of an error of either side; undefined for an error without a reason, or with a reason that only a
 * newer peer knows.
 */
export function errorReasonOf(thrown: unknown): ErrorReason | undefined {
  return reasonOf(thrown, errorReasons)
}
