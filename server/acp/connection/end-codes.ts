import { closeCodes } from '../../../shared/rpc/duplex.js'
import type { AcpEndReason } from '../options.js'

/** The code with which the duplex of an agent, or a WebSocket, is closed. */
export const endCodes: Readonly<Record<AcpEndReason, number>> = {
  deleted: closeCodes.normal,
  closed: closeCodes.normal,
  agent_ended: closeCodes.normal,
  agent_failed: closeCodes.internalError,
  unauthorized: closeCodes.unauthorized,
  initialize_failed: closeCodes.normal,
  protocol_error: closeCodes.protocolError,
  abandoned: closeCodes.policyViolation,
  slow_reader: closeCodes.slowReader,
  draining: closeCodes.goingAway,
}
