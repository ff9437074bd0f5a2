import { keepTurnInput, openConversationInput, pinToolsInput } from '../../shared/contract/conversations.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** Conversations with injected tools. Inputs and responses are content and are never logged. */
export const conversationsRouter = router({
  open: daemonProcedure
    .input(checked(openConversationInput))
    .query(forDaemon(({ conversations }, input) => conversations.open(input))),
  pin: daemonProcedure
    .input(checked(pinToolsInput))
    .mutation(forDaemon(({ conversations }, input) => conversations.pin(input))),
  keep: daemonProcedure
    .input(checked(keepTurnInput))
    .mutation(forDaemon(({ conversations }, input) => conversations.keep(input))),
})
