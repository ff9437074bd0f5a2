import { type AgentsAdmin, type AgentsAdminOptions, createAgentsAdmin } from './agents.js'
import { type ApiKeysAdmin, type ApiKeysAdminOptions, createApiKeysAdmin } from './api-keys.js'
import { type AuditAdmin, type AuditAdminOptions, createAuditAdmin } from './audit.js'
import type { DaemonKeys } from './daemon-keys.js'
import {
  createExternalAuthLinksAdmin,
  createMcpServersAdmin,
  type ExternalAuthLinksAdmin,
  type McpAdminOptions,
  type McpServersAdmin,
} from './mcp.js'
import { createMcpServerTester, type McpServerTester, type McpServerTesterOptions } from './mcp-test.js'
import { createPricesAdmin, type PricesAdmin, type PricesAdminOptions } from './prices.js'
import { createProvidersAdmin, type ProvidersAdmin, type ProvidersAdminOptions } from './providers/providers.js'
import {
  createInterceptionsAdmin,
  type InterceptionsAdmin,
  type InterceptionsAdminOptions,
} from './records/interceptions.js'
import { createRecordWatch, type RecordWatch, type RecordWatchOptions } from './records/record-watch.js'
import { createUsage, type Usage, type UsageOptions } from './records/usage.js'
import { createSecretRotation, type SecretRotation, type SecretRotationOptions } from './secret-rotation.js'
import { createUsersAdmin, type UsersAdmin, type UsersAdminOptions } from './users.js'

/** The operators' services, by noun. */
export interface Admin {
  readonly users: UsersAdmin
  readonly apiKeys: ApiKeysAdmin
  readonly daemonKeys: DaemonKeysAdmin
  readonly agents: AgentsAdmin
  readonly providers: ProvidersAdmin
  readonly prices: PricesAdmin
  readonly mcpServers: McpServersAdmin & McpServerTester
  readonly externalAuthLinks: ExternalAuthLinksAdmin
  readonly interceptions: InterceptionsAdmin
  readonly usage: Usage['usage']
  readonly usageExport: Usage['usageExport']
  readonly secrets: SecretRotation
  readonly audit: AuditAdmin
  readonly watch: RecordWatch['watch']
}

/** The operators' part of the daemon keys. */
export type DaemonKeysAdmin = Pick<DaemonKeys, 'create' | 'list' | 'revoke'>

export type AdminOptions = UsersAdminOptions &
  ApiKeysAdminOptions &
  AgentsAdminOptions &
  ProvidersAdminOptions &
  PricesAdminOptions &
  InterceptionsAdminOptions &
  McpAdminOptions &
  McpServerTesterOptions &
  UsageOptions &
  SecretRotationOptions &
  AuditAdminOptions &
  RecordWatchOptions & { daemonKeys: DaemonKeysAdmin }

export function createAdmin(options: AdminOptions): Admin {
  return {
    users: createUsersAdmin(options),
    apiKeys: createApiKeysAdmin(options),
    daemonKeys: options.daemonKeys,
    agents: createAgentsAdmin(options),
    providers: createProvidersAdmin(options),
    prices: createPricesAdmin(options),
    mcpServers: { ...createMcpServersAdmin(options), ...createMcpServerTester(options) },
    externalAuthLinks: createExternalAuthLinksAdmin(options),
    interceptions: createInterceptionsAdmin(options),
    ...createUsage(options),
    secrets: createSecretRotation(options),
    audit: createAuditAdmin(options),
    watch: createRecordWatch(options).watch,
  }
}
