import { isAuthorizedInput } from '../../shared/contract/authorizer.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** Whose key is this; the checks and their order are in services/authorizer.ts. */
export const authorizerRouter = router({
  isAuthorized: daemonProcedure
    .input(checked(isAuthorizedInput))
    .query(forDaemon(({ authorizer }, input, daemon) => authorizer.isAuthorized(input, daemon))),
})
