/** The responses of the procedures that servers call at each other, as `outputs.ts` has those of the control plane. */
import type { PeerRouter } from '../../server/routers/peer.js'
import type { Differences, SchemasOf } from './outputs.js'
import { processOutputs } from './process-outputs.js'

type Procedures = PeerRouter['_def']['record']

/** Procedure of a server → the schema of its response. */
export const peerOutputs = { agents: processOutputs } satisfies SchemasOf<Procedures>

/** Compiles only while there are no differences; the error names the path of the first one. */
export const peerOutputsDiffer: [Differences<typeof peerOutputs, Procedures>] extends [never]
  ? false
  : Differences<typeof peerOutputs, Procedures> = false
