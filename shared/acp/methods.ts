/**
 * The methods of the Agent Client Protocol and the scope of each: the only place that names them. A session-scoped
 * message belongs to one session and travels on the stream of that session; any other message belongs to the
 * connection.
 *
 * Source: the schema of protocol version 1 and the RFD "Streamable HTTP & WebSocket Transport", with the methods that
 * are unstable there.
 */

/** The stream on which messages of a method travel. */
export type AcpScope = 'session' | 'connection'

/** One method as one side sends it. */
export interface AcpMethod {
  readonly scope: AcpScope
  /** Whether the method is in the stable schema. */
  readonly isStable: boolean
}

const session: AcpMethod = { scope: 'session', isStable: true }
const connection: AcpMethod = { scope: 'connection', isStable: true }
const unstableSession: AcpMethod = { scope: 'session', isStable: false }
const unstableConnection: AcpMethod = { scope: 'connection', isStable: false }

/** The first method of every connection. */
export const initializeMethod = 'initialize'
/** Cancels one request by its id, in either direction. */
export const cancelRequestMethod = '$/cancel_request'
/** The methods after whose success a session has no messages any more. */
export const sessionEndMethods: ReadonlySet<string> = new Set(['session/close', 'session/delete'])
/** The method whose response travels on the connection's stream although its updates travel on the session's. */
export const loadSessionMethod = 'session/load'

/** Methods that clients send to agents. */
export const clientMethods: ReadonlyMap<string, AcpMethod> = new Map([
  [initializeMethod, connection],
  ['authenticate', connection],
  ['logout', connection],
  ['session/new', connection],
  ['session/list', connection],
  [loadSessionMethod, session],
  ['session/prompt', session],
  ['session/cancel', session],
  ['session/close', session],
  ['session/delete', session],
  ['session/resume', session],
  ['session/set_mode', session],
  ['session/set_config_option', session],
  [cancelRequestMethod, connection],
  ['session/fork', unstableSession],
  ['session/archive', unstableSession],
  ['session/unarchive', unstableSession],
  ['session/status', unstableSession],
  ['session/set_title', unstableSession],
  ['session/set_model', unstableSession],
  // Its result names the session, as that of session/new does.
  ['nes/start', unstableConnection],
  ['nes/suggest', unstableSession],
  ['nes/accept', unstableSession],
  ['nes/reject', unstableSession],
  ['nes/close', unstableSession],
  ['document/didOpen', unstableSession],
  ['document/didChange', unstableSession],
  ['document/didClose', unstableSession],
  ['document/didSave', unstableSession],
  ['document/didFocus', unstableSession],
  ['auth/status', unstableConnection],
  ['providers/list', unstableConnection],
  ['providers/set', unstableConnection],
  ['providers/disable', unstableConnection],
  ['mcp/message', unstableConnection],
  ['proxy/initialize', unstableConnection],
  ['proxy/successor', unstableConnection],
])

/** Methods that agents send to clients. */
export const agentMethods: ReadonlyMap<string, AcpMethod> = new Map([
  ['session/update', session],
  ['session/request_permission', session],
  ['fs/read_text_file', session],
  ['fs/write_text_file', session],
  ['terminal/create', session],
  ['terminal/output', session],
  ['terminal/release', session],
  ['terminal/wait_for_exit', session],
  ['terminal/kill', session],
  ['elicitation/create', connection],
  ['elicitation/complete', connection],
  [cancelRequestMethod, connection],
  ['auth/status_update', unstableConnection],
  ['mcp/connect', unstableConnection],
  ['mcp/message', unstableConnection],
  ['mcp/disconnect', unstableConnection],
  ['proxy/successor', unstableConnection],
])
