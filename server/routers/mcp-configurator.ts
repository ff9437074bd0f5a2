import { accessTokensInput, serverConfigsInput } from '../../shared/contract/mcp-configurator.js'
import { checked, daemonProcedure, forDaemon, router } from './trpc.js'

/** MCP servers and users' tokens for them. Responses hold secrets and are never logged. */
export const mcpConfiguratorRouter = router({
  getServerConfigs: daemonProcedure
    .input(checked(serverConfigsInput))
    .query(forDaemon(({ mcpConfigurator }, input) => mcpConfigurator.getServerConfigs(input))),
  getServerAccessTokensBatch: daemonProcedure
    .input(checked(accessTokensInput))
    .query(forDaemon(({ mcpConfigurator }, input) => mcpConfigurator.getServerAccessTokensBatch(input))),
})
