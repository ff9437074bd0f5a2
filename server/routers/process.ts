import { initTRPC } from '@trpc/server'
import {
  cancelProcessInput,
  listProcessesInput,
  type ProcessHost,
  processOutputInput,
  signalProcessInput,
  startProcessInput,
} from '../../shared/contract/agents.js'
import { transformer } from '../../shared/rpc/json/transformer.js'
import { formatError } from './error-format.js'
import { checked } from './trpc.js'

/** The context of the procedures: the duplex itself is the permission. */
export interface ProcessContext {
  /** stands in the error and in the server's log; undefined on a link that makes an id for each call */
  requestId?: string | undefined
}

/** tRPC for agents, which have no roles and no services. */
const t = initTRPC.context<ProcessContext>().create({ transformer, isDev: false, errorFormatter: formatError })

/** Creates the router of an agent's processes, for any link; the rules are the host's. */
export function processRouter(host: ProcessHost) {
  return t.router({
    info: t.procedure.query(call => host.info(call)),
    start: t.procedure.input(checked(startProcessInput)).mutation(call => host.start(call.input, call)),
    output: t.procedure.input(checked(processOutputInput)).query(call => host.output(call.input, call)),
    list: t.procedure.input(checked(listProcessesInput)).query(call => host.list(call.input, call)),
    signal: t.procedure.input(checked(signalProcessInput)).mutation(call => host.signal(call.input, call)),
    cancel: t.procedure.input(checked(cancelProcessInput)).mutation(call => host.cancel(call.input, call)),
  })
}

/** The type of {@link processRouter}: a client of any link is typed by it. */
export type ProcessRouter = ReturnType<typeof processRouter>
