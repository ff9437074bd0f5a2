/** The responses of an agent's procedures, as `outputs.ts` has those of the control plane. */
import type { ProcessRouter } from '../../server/routers/process.js'
import type { Differences, SchemasOf } from './outputs.js'
import { processOutputs } from './process-outputs.js'

type Procedures = ProcessRouter['_def']['record']

/** Procedure of an agent → the schema of its response. */
export const agentOutputs = processOutputs satisfies SchemasOf<Procedures>

/** Compiles only while there are no differences; the error names the path of the first one. */
export const agentOutputsDiffer: [Differences<typeof agentOutputs, Procedures>] extends [never]
  ? false
  : Differences<typeof agentOutputs, Procedures> = false
