import { initTRPC } from '@trpc/server'
import {
  peerCancelInput,
  peerFollowInput,
  peerInfoInput,
  peerListInput,
  peerOutputInput,
  peerSignalInput,
  peerStartInput,
} from '../../shared/contract/peers.js'
import { transformer } from '../../shared/rpc/json/transformer.js'
import type { HeldAgents } from '../services/agent-hosts.js'
import type { LiveParts } from '../services/chats/live-parts.js'
import { formatError } from './error-format.js'
import { checked, resumable } from './trpc.js'

/** The context of the procedures: a peer is another server of the database, and may call all of them. */
export interface PeerContext {
  heldAgents: HeldAgents
  /** of the chats that this process itself runs */
  liveParts: LiveParts
  /** stands in the error and in the server's log; undefined on a link that makes an id for each call */
  requestId?: string | undefined
}

/** tRPC for servers, which have no roles: the server that calls has checked its user. */
const t = initTRPC.context<PeerContext>().create({ transformer, isDev: false, errorFormatter: formatError })

/**
 * The procedures that another server calls. Each acts on what this process itself holds, and none calls a third server:
 * so no call goes round in a circle.
 */
export const peerRouter = t.router({
  agents: t.router({
    info: t.procedure
      .input(checked(peerInfoInput))
      .query(call => call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.info(held))),
    start: t.procedure
      .input(checked(peerStartInput))
      .mutation(call =>
        call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.start(call.input.input, held)),
      ),
    output: t.procedure
      .input(checked(peerOutputInput))
      .query(call =>
        call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.output(call.input.input, held)),
      ),
    list: t.procedure
      .input(checked(peerListInput))
      .query(call => call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.list(call.input.input, held))),
    signal: t.procedure
      .input(checked(peerSignalInput))
      .mutation(call =>
        call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.signal(call.input.input, held)),
      ),
    cancel: t.procedure
      .input(checked(peerCancelInput))
      .mutation(call =>
        call.ctx.heldAgents.callHeld(call.input, call, (host, held) => host.cancel(call.input.input, held)),
      ),
  }),
  chats: t.router({
    followParts: t.procedure.input(checked(peerFollowInput)).subscription(async function* (call) {
      const { lastEventId, ...episode } = call.input
      let seq = Number(lastEventId ?? 0)
      const signal = call.signal ?? new AbortController().signal
      for await (const event of call.ctx.liveParts.follow(episode, seq, signal)) {
        if (event.kind === 'part') seq = event.seq
        // A connection that is lost goes on behind the last part.
        yield resumable(String(seq), event)
      }
    }),
  }),
})

/** The type of {@link peerRouter}. */
export type PeerRouter = typeof peerRouter
