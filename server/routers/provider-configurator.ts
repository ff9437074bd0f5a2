import { daemonProcedure, forDaemon, router } from './trpc.js'

/** AI providers and their keys. Its answers hold secrets and are never logged. */
export const providerConfiguratorRouter = router({
  getProviders: daemonProcedure.query(forDaemon(({ providerConfigurator }) => providerConfigurator.getProviders())),
})
