import {
  apiKeysCreateInput,
  apiKeysDeleteInput,
  apiKeysExpireInput,
  apiKeysListInput,
  auditListInput,
  daemonKeysCreateInput,
  daemonKeysRevokeInput,
  externalAuthLinksListInput,
  externalAuthLinksRemoveInput,
  externalAuthLinksSetInput,
  interceptionsGetInput,
  interceptionsListInput,
  mcpServersRemoveInput,
  mcpServersUpsertInput,
  providersRemoveInput,
  providersSetEnabledInput,
  providersUpsertInput,
  usageInput,
  usersCreateInput,
  usersDeleteInput,
  usersPurgeInput,
  usersSetStatusInput,
  watchInput,
} from '../../shared/contract/admin.js'
import { adminProcedure, checked, resumable, router } from './trpc.js'

const users = router({
  create: adminProcedure
    .input(checked(usersCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.create(input, ctx.identity.name)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.users.list()),
  setStatus: adminProcedure
    .input(checked(usersSetStatusInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.setStatus(input, ctx.identity.name)),
  delete: adminProcedure
    .input(checked(usersDeleteInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.delete(input, ctx.identity.name)),
  purge: adminProcedure
    .input(checked(usersPurgeInput))
    .mutation(({ ctx, input, signal }) => ctx.services.admin.users.purge(input, ctx.identity.name, signal)),
})

const apiKeys = router({
  create: adminProcedure
    .input(checked(apiKeysCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.create(input, ctx.identity.name)),
  list: adminProcedure
    .input(checked(apiKeysListInput))
    .query(({ ctx, input }) => ctx.services.admin.apiKeys.list(input)),
  expire: adminProcedure
    .input(checked(apiKeysExpireInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.expire(input, ctx.identity.name)),
  delete: adminProcedure
    .input(checked(apiKeysDeleteInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.delete(input, ctx.identity.name)),
})

const daemonKeys = router({
  create: adminProcedure
    .input(checked(daemonKeysCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.daemonKeys.create(input, ctx.identity.name)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.daemonKeys.list()),
  revoke: adminProcedure
    .input(checked(daemonKeysRevokeInput))
    .mutation(({ ctx, input }) => ctx.services.admin.daemonKeys.revoke(input, ctx.identity.name)),
})

const providers = router({
  upsert: adminProcedure
    .input(checked(providersUpsertInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.upsert(input, ctx.identity.name)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.providers.list()),
  setEnabled: adminProcedure
    .input(checked(providersSetEnabledInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.setEnabled(input, ctx.identity.name)),
  remove: adminProcedure
    .input(checked(providersRemoveInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.remove(input, ctx.identity.name)),
})

const mcpServers = router({
  upsert: adminProcedure
    .input(checked(mcpServersUpsertInput))
    .mutation(({ ctx, input }) => ctx.services.admin.mcpServers.upsert(input, ctx.identity.name)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.mcpServers.list()),
  remove: adminProcedure
    .input(checked(mcpServersRemoveInput))
    .mutation(({ ctx, input }) => ctx.services.admin.mcpServers.remove(input, ctx.identity.name)),
})

const externalAuthLinks = router({
  set: adminProcedure
    .input(checked(externalAuthLinksSetInput))
    .mutation(({ ctx, input }) => ctx.services.admin.externalAuthLinks.set(input, ctx.identity.name)),
  list: adminProcedure
    .input(checked(externalAuthLinksListInput))
    .query(({ ctx, input }) => ctx.services.admin.externalAuthLinks.list(input)),
  remove: adminProcedure
    .input(checked(externalAuthLinksRemoveInput))
    .mutation(({ ctx, input }) => ctx.services.admin.externalAuthLinks.remove(input, ctx.identity.name)),
})

const interceptions = router({
  list: adminProcedure
    .input(checked(interceptionsListInput))
    .query(({ ctx, input }) => ctx.services.admin.interceptions.list(input)),
  get: adminProcedure
    .input(checked(interceptionsGetInput))
    .query(({ ctx, input }) => ctx.services.admin.interceptions.get(input)),
})

const usage = adminProcedure.input(checked(usageInput)).query(({ ctx, input }) => ctx.services.admin.usage(input))

const secrets = router({
  rotate: adminProcedure.mutation(({ ctx }) => ctx.services.admin.secrets.rotate(ctx.identity.name)),
})

const audit = router({
  list: adminProcedure.input(checked(auditListInput)).query(({ ctx, input }) => ctx.services.admin.audit.list(input)),
})

const watch = adminProcedure.input(checked(watchInput)).subscription(async function* ({ ctx, input, signal }) {
  for await (const { id, event } of ctx.services.admin.watch(input ?? {}, signal)) yield resumable(id, event)
})

/** What an operator does; for admins only. */
export const adminRouter = router({
  users,
  apiKeys,
  daemonKeys,
  providers,
  mcpServers,
  externalAuthLinks,
  interceptions,
  usage,
  secrets,
  audit,
  watch,
})
