/** The responses of an agent's procedures, as `outputs.ts` has those of the control plane. */
import { z } from 'zod'
import type { ProcessRouter } from '../../server/routers/process.js'
import type { Differences, SchemasOf } from './outputs.js'

type Procedures = ProcessRouter['_def']['record']

const state = {
  running: z.boolean(),
  exitCode: z.number().nullable().exactOptional(),
  signal: z.string().exactOptional(),
  durationMs: z.number(),
}

const output = {
  ...state,
  output: z.string(),
  truncated: z
    .object({
      originalBytes: z.number(),
      retainedBytes: z.number(),
      omittedBytes: z.number(),
      cutLines: z.number(),
    })
    .exactOptional(),
}

const listed = z.object({
  ...state,
  id: z.string(),
  scope: z.string().exactOptional(),
  command: z.string(),
  dir: z.string(),
  background: z.boolean(),
  startedAt: z.date(),
})

/** Procedure of an agent → the schema of its response. */
export const agentOutputs = {
  info: z.object({
    instanceId: z.string(),
    os: z.string(),
    home: z.string(),
    dir: z.string(),
    startedAt: z.date(),
    buildVersion: z.string(),
  }),
  start: z.object({ id: z.string(), attached: z.boolean() }),
  output: z.object(output),
  list: z.object({ processes: z.array(listed), total: z.number() }),
  signal: z.record(z.string(), z.never()),
  cancel: z.object({ ...output, ran: z.boolean() }),
} satisfies SchemasOf<Procedures>

/** Compiles only while there are no differences; the error names the path of the first one. */
export const agentOutputsDiffer: [Differences<typeof agentOutputs, Procedures>] extends [never]
  ? false
  : Differences<typeof agentOutputs, Procedures> = false
