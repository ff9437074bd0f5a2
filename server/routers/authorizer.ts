import { isAuthorizedInput } from '../../shared/contract/authorizer.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** The owner of a key; the checks and their order are in services/daemon/authorizer.ts. */
export const authorizerRouter = router({
  isAuthorized: daemonProcedure
    .input(checked(isAuthorizedInput))
    .query(forDaemon(({ authorizer }, input, daemon) => authorizer.isAuthorized(input, daemon))),
})
