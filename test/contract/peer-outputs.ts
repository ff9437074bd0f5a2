/** The responses of the procedures that servers call at each other, as `outputs.ts` has those of the control plane. */
import { z } from 'zod'
import type { PeerRouter } from '../../server/routers/peer.js'
import { chatPart } from './chat-outputs.js'
import type { Differences, SchemasOf } from './outputs.js'
import { processOutputs } from './process-outputs.js'

type Procedures = PeerRouter['_def']['record']

const followedPart = z.object({ role: z.enum(['assistant', 'tool']), index: z.number(), part: chatPart })

/** Procedure of a server → the schema of its response. */
export const peerOutputs = {
  agents: processOutputs,
  chats: {
    followParts: z.union([
      z.object({ kind: z.literal('part'), seq: z.number(), part: followedPart }),
      z.object({ kind: z.literal('cut') }),
      z.object({ kind: z.literal('ended') }),
    ]),
  },
} satisfies SchemasOf<Procedures>

/** Compiles only while there are no differences; the error names the path of the first one. */
export const peerOutputsDiffer: [Differences<typeof peerOutputs, Procedures>] extends [never]
  ? false
  : Differences<typeof peerOutputs, Procedures> = false
