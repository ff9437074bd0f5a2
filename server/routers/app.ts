import { adminRouter } from './admin.js'
import { authorizerRouter } from './authorizer.js'
import { chatsRouter } from './chats.js'
import { conversationsRouter } from './conversations.js'
import { mcpConfiguratorRouter } from './mcp-configurator.js'
import { providerConfiguratorRouter } from './provider-configurator.js'
import { recorderRouter } from './recorder.js'
import { router } from './trpc.js'

/** Every procedure of the control plane. */
export const appRouter = router({
  recorder: recorderRouter,
  authorizer: authorizerRouter,
  mcpConfigurator: mcpConfiguratorRouter,
  conversations: conversationsRouter,
  providerConfigurator: providerConfiguratorRouter,
  chats: chatsRouter,
  admin: adminRouter,
})

/** The type of {@link appRouter}: a client of any link is typed by it. */
export type AppRouter = typeof appRouter
