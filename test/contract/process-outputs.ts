/** The responses of an agent's procedures as schemas; the control plane passes some of them on. */
import { z } from 'zod'

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
export const processOutputs = {
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
}
