import {
  agentProcessesInput,
  agentsCreateInput,
  agentsRevokeInput,
  operatorOutputInput,
  operatorSignalInput,
  operatorStartInput,
} from '../../shared/contract/admin/agents.js'
import {
  apiKeysCreateInput,
  apiKeysDeleteInput,
  apiKeysExpireInput,
  apiKeysListInput,
} from '../../shared/contract/admin/api-keys.js'
import { auditListInput } from '../../shared/contract/admin/audit.js'
import { daemonKeysCreateInput, daemonKeysRevokeInput } from '../../shared/contract/admin/daemon-keys.js'
import {
  externalAuthLinksListInput,
  externalAuthLinksRemoveInput,
  externalAuthLinksSetInput,
} from '../../shared/contract/admin/external-auth-links.js'
import { interceptionsGetInput, interceptionsListInput } from '../../shared/contract/admin/interceptions.js'
import {
  mcpServersRemoveInput,
  mcpServersTestInput,
  mcpServersUpsertInput,
} from '../../shared/contract/admin/mcp-servers.js'
import {
  pricesBackfillInput,
  pricesExplainInput,
  pricesListInput,
  pricesRemoveInput,
  pricesSetInput,
} from '../../shared/contract/admin/prices.js'
import {
  providersKeysAddInput,
  providersKeysOrderInput,
  providersKeysRemoveInput,
  providersRemoveInput,
  providersSetEnabledInput,
  providersTestInput,
  providersUpsertInput,
} from '../../shared/contract/admin/providers.js'
import { usageExportInput, usageInput } from '../../shared/contract/admin/usage.js'
import {
  usersCreateInput,
  usersDeleteInput,
  usersPurgeInput,
  usersSetStatusInput,
} from '../../shared/contract/admin/users.js'
import { watchInput } from '../../shared/contract/admin/watch.js'
import { adminProcedure, checked, forAdmin, resumable, router } from './trpc.js'

const users = router({
  create: adminProcedure
    .input(checked(usersCreateInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.users.create(input, name))),
  list: adminProcedure.query(forAdmin(({ admin }) => admin.users.list())),
  setStatus: adminProcedure
    .input(checked(usersSetStatusInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.users.setStatus(input, name))),
  delete: adminProcedure
    .input(checked(usersDeleteInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.users.delete(input, name))),
  purge: adminProcedure
    .input(checked(usersPurgeInput))
    .mutation(forAdmin(({ admin }, input, { name }, { signal }) => admin.users.purge(input, name, signal))),
})

const apiKeys = router({
  create: adminProcedure
    .input(checked(apiKeysCreateInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.apiKeys.create(input, name))),
  list: adminProcedure
    .input(checked(apiKeysListInput))
    .query(forAdmin(({ admin }, input) => admin.apiKeys.list(input))),
  expire: adminProcedure
    .input(checked(apiKeysExpireInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.apiKeys.expire(input, name))),
  delete: adminProcedure
    .input(checked(apiKeysDeleteInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.apiKeys.delete(input, name))),
})

const daemonKeys = router({
  create: adminProcedure
    .input(checked(daemonKeysCreateInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.daemonKeys.create(input, name))),
  list: adminProcedure.query(forAdmin(({ admin }) => admin.daemonKeys.list())),
  revoke: adminProcedure
    .input(checked(daemonKeysRevokeInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.daemonKeys.revoke(input, name))),
})

const agents = router({
  create: adminProcedure
    .input(checked(agentsCreateInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.agents.create(input, name))),
  list: adminProcedure.query(forAdmin(({ admin }) => admin.agents.list())),
  revoke: adminProcedure
    .input(checked(agentsRevokeInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.agents.revoke(input, name))),
  start: adminProcedure
    .input(checked(operatorStartInput))
    .mutation(forAdmin(({ admin }, input, { name }, { signal }) => admin.agents.start(input, name, signal))),
  output: adminProcedure
    .input(checked(operatorOutputInput))
    .query(forAdmin(({ admin }, input, _identity, { signal }) => admin.agents.output(input, signal))),
  processes: adminProcedure
    .input(checked(agentProcessesInput))
    .query(forAdmin(({ admin }, input, _identity, { signal }) => admin.agents.processes(input, signal))),
  signal: adminProcedure
    .input(checked(operatorSignalInput))
    .mutation(forAdmin(({ admin }, input, { name }, { signal }) => admin.agents.signal(input, name, signal))),
})

const providers = router({
  upsert: adminProcedure
    .input(checked(providersUpsertInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.upsert(input, name))),
  list: adminProcedure.query(forAdmin(({ admin }) => admin.providers.list())),
  setEnabled: adminProcedure
    .input(checked(providersSetEnabledInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.setEnabled(input, name))),
  remove: adminProcedure
    .input(checked(providersRemoveInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.remove(input, name))),
  test: adminProcedure
    .input(checked(providersTestInput))
    .mutation(forAdmin(({ admin }, input, { name }, { signal }) => admin.providers.test(input, name, signal))),
  keys: router({
    add: adminProcedure
      .input(checked(providersKeysAddInput))
      .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.keys.add(input, name))),
    remove: adminProcedure
      .input(checked(providersKeysRemoveInput))
      .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.keys.remove(input, name))),
    order: adminProcedure
      .input(checked(providersKeysOrderInput))
      .mutation(forAdmin(({ admin }, input, { name }) => admin.providers.keys.order(input, name))),
  }),
})

const mcpServers = router({
  upsert: adminProcedure
    .input(checked(mcpServersUpsertInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.mcpServers.upsert(input, name))),
  list: adminProcedure.query(forAdmin(({ admin }) => admin.mcpServers.list())),
  remove: adminProcedure
    .input(checked(mcpServersRemoveInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.mcpServers.remove(input, name))),
  test: adminProcedure
    .input(checked(mcpServersTestInput))
    .mutation(forAdmin(({ admin }, input, { name }, { signal }) => admin.mcpServers.test(input, name, signal))),
})

const externalAuthLinks = router({
  set: adminProcedure
    .input(checked(externalAuthLinksSetInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.externalAuthLinks.set(input, name))),
  list: adminProcedure
    .input(checked(externalAuthLinksListInput))
    .query(forAdmin(({ admin }, input) => admin.externalAuthLinks.list(input))),
  remove: adminProcedure
    .input(checked(externalAuthLinksRemoveInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.externalAuthLinks.remove(input, name))),
})

const interceptions = router({
  list: adminProcedure
    .input(checked(interceptionsListInput))
    .query(forAdmin(({ admin }, input) => admin.interceptions.list(input))),
  get: adminProcedure
    .input(checked(interceptionsGetInput))
    .query(forAdmin(({ admin }, input) => admin.interceptions.get(input))),
})

const usage = adminProcedure.input(checked(usageInput)).query(forAdmin(({ admin }, input) => admin.usage(input)))

const usageExport = adminProcedure
  .input(checked(usageExportInput))
  .query(forAdmin(({ admin }, input) => admin.usageExport(input)))

const prices = router({
  list: adminProcedure.input(checked(pricesListInput)).query(forAdmin(({ admin }, input) => admin.prices.list(input))),
  set: adminProcedure
    .input(checked(pricesSetInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.prices.set(input, name))),
  remove: adminProcedure
    .input(checked(pricesRemoveInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.prices.remove(input, name))),
  explain: adminProcedure
    .input(checked(pricesExplainInput))
    .query(forAdmin(({ admin }, input) => admin.prices.explain(input))),
  backfill: adminProcedure
    .input(checked(pricesBackfillInput))
    .mutation(forAdmin(({ admin }, input, { name }) => admin.prices.backfill(input, name))),
})

const secrets = router({
  rotate: adminProcedure.mutation(forAdmin(({ admin }, _input, { name }) => admin.secrets.rotate(name))),
})

const audit = router({
  list: adminProcedure.input(checked(auditListInput)).query(forAdmin(({ admin }, input) => admin.audit.list(input))),
})

const watch = adminProcedure.input(checked(watchInput)).subscription(
  forAdmin(async function* ({ admin }, input, _identity, { signal }) {
    for await (const { id, event } of admin.watch(input ?? {}, signal)) yield resumable(id, event)
  }),
)

/** The operators' procedures; for admins only. */
export const adminRouter = router({
  users,
  apiKeys,
  daemonKeys,
  agents,
  providers,
  mcpServers,
  externalAuthLinks,
  interceptions,
  usage,
  usageExport,
  prices,
  secrets,
  audit,
  watch,
})
