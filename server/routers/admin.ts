import {
  apiKeysCreateInput,
  apiKeysDeleteInput,
  apiKeysExpireInput,
  apiKeysListInput,
  daemonKeysCreateInput,
  daemonKeysRevokeInput,
  interceptionsGetInput,
  interceptionsListInput,
  providersRemoveInput,
  providersSetEnabledInput,
  providersUpsertInput,
  usersCreateInput,
  usersDeleteInput,
  usersSetStatusInput,
} from '../../shared/admin.js'
import { adminProcedure, checked, router } from './trpc.js'

const users = router({
  create: adminProcedure
    .input(checked(usersCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.create(input)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.users.list()),
  setStatus: adminProcedure
    .input(checked(usersSetStatusInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.setStatus(input)),
  delete: adminProcedure
    .input(checked(usersDeleteInput))
    .mutation(({ ctx, input }) => ctx.services.admin.users.delete(input)),
})

const apiKeys = router({
  create: adminProcedure
    .input(checked(apiKeysCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.create(input)),
  list: adminProcedure
    .input(checked(apiKeysListInput))
    .query(({ ctx, input }) => ctx.services.admin.apiKeys.list(input)),
  expire: adminProcedure
    .input(checked(apiKeysExpireInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.expire(input)),
  delete: adminProcedure
    .input(checked(apiKeysDeleteInput))
    .mutation(({ ctx, input }) => ctx.services.admin.apiKeys.delete(input)),
})

const daemonKeys = router({
  create: adminProcedure
    .input(checked(daemonKeysCreateInput))
    .mutation(({ ctx, input }) => ctx.services.admin.daemonKeys.create(input)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.daemonKeys.list()),
  revoke: adminProcedure
    .input(checked(daemonKeysRevokeInput))
    .mutation(({ ctx, input }) => ctx.services.admin.daemonKeys.revoke(input)),
})

const providers = router({
  upsert: adminProcedure
    .input(checked(providersUpsertInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.upsert(input)),
  list: adminProcedure.query(({ ctx }) => ctx.services.admin.providers.list()),
  setEnabled: adminProcedure
    .input(checked(providersSetEnabledInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.setEnabled(input)),
  remove: adminProcedure
    .input(checked(providersRemoveInput))
    .mutation(({ ctx, input }) => ctx.services.admin.providers.remove(input)),
})

const interceptions = router({
  list: adminProcedure
    .input(checked(interceptionsListInput))
    .query(({ ctx, input }) => ctx.services.admin.interceptions.list(input)),
  get: adminProcedure
    .input(checked(interceptionsGetInput))
    .query(({ ctx, input }) => ctx.services.admin.interceptions.get(input)),
})

/** What an operator does; for admins only. */
export const adminRouter = router({ users, apiKeys, daemonKeys, providers, interceptions })
