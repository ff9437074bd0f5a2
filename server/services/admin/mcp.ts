import type { z } from 'zod'
import type {
  ExternalAuthLink,
  externalAuthLinksListInput,
  externalAuthLinksRemoveInput,
  externalAuthLinksSetInput,
} from '../../../shared/contract/admin/external-auth-links.js'
import type {
  McpServer,
  mcpServersRemoveInput,
  mcpServersUpsertInput,
} from '../../../shared/contract/admin/mcp-servers.js'
import { RpcError } from '../../../shared/rpc/errors.js'
import type { AuditedWrites, AuthLinkRow, McpServerRow, McpStore } from '../../store/store.js'
import { auditEntry } from '../audit-entry.js'
import type { SecretBox } from '../secrets.js'
import { clientSecretPlace, tokenPlace } from '../tools/token-secrets.js'
import { unknownRow } from '../unknown-row.js'
import { findUser, type UserFinder } from './find-user.js'

/** The MCP servers whose tools may be offered to models. Responses never hold a secret. */
export interface McpServersAdmin {
  /**
   * Adds or changes a server: absent fields stay, null removes a field.
   * @throws RpcError `BAD_REQUEST` for a `tokenUrl` without a `clientId`
   */
  upsert(input: z.output<typeof mcpServersUpsertInput>, actor: string): Promise<McpServer>
  /** Returns all servers, sorted by id. */
  list(): Promise<McpServer[]>
  /**
   * Deletes a server and all users' links to the server.
   * @throws RpcError `NOT_FOUND` (unknown_row)
   */
  remove(input: z.output<typeof mcpServersRemoveInput>, actor: string): Promise<Record<string, never>>
}

/** Users' tokens for MCP servers. Responses never hold a token. */
export interface ExternalAuthLinksAdmin {
  /** @throws RpcError `NOT_FOUND` (unknown_row) for an unknown user or server */
  set(input: z.output<typeof externalAuthLinksSetInput>, actor: string): Promise<ExternalAuthLink>
  /** Returns links, sorted by user and server. @throws RpcError `NOT_FOUND` (unknown_row) for an unknown user */
  list(input: z.output<typeof externalAuthLinksListInput>): Promise<ExternalAuthLink[]>
  /** @throws RpcError `NOT_FOUND` (unknown_row) */
  remove(input: z.output<typeof externalAuthLinksRemoveInput>, actor: string): Promise<Record<string, never>>
}

export interface McpAdminOptions {
  store: McpStore & UserFinder & AuditedWrites
  secrets: SecretBox
}

export function createMcpServersAdmin({ store, secrets }: McpAdminOptions): McpServersAdmin {
  return {
    async upsert({ id, clientSecret, ...server }, actor) {
      const sealed =
        typeof clientSecret === 'string' ? secrets.seal(clientSecret, clientSecretPlace({ id })) : clientSecret
      const row = await store.audited(
        async tables => {
          const written = await tables.upsertMcpServer({ id, ...server, clientSecret: sealed })
          if (written.tokenUrl === null || written.clientId !== null) return written
          throw new RpcError('BAD_REQUEST', 'clientId: is needed with tokenUrl')
        },
        ({ url, toolAllowRegex, toolDenyRegex, inject, tokenUrl, clientId, validateUrl }) => {
          const details = { url, toolAllowRegex, toolDenyRegex, inject, tokenUrl, clientId, validateUrl }
          return auditEntry(actor, 'mcpServers.upsert', id, details)
        },
      )
      return shownServer(row)
    },
    async list() {
      return (await store.listMcpServers()).map(shownServer)
    },
    async remove({ id }, actor) {
      const isRemoved = await store.audited(
        tables => tables.removeMcpServer(id),
        done => (done ? auditEntry(actor, 'mcpServers.remove', id) : null),
      )
      if (isRemoved) return {}
      throw unknownRow('MCP server', id)
    },
  }
}

export function createExternalAuthLinksAdmin({ store, secrets }: McpAdminOptions): ExternalAuthLinksAdmin {
  return {
    async set({ user: ref, serverId, accessToken, refreshToken, expiresAt = null }, actor) {
      const { id: userId } = await findUser(store, ref)
      const link = { userId, serverId }
      const sealed = {
        accessToken: secrets.seal(accessToken, tokenPlace(link, 'accessToken')),
        refreshToken: refreshToken === undefined ? null : secrets.seal(refreshToken, tokenPlace(link, 'refreshToken')),
      }
      const row = await store.audited(
        tables => tables.setAuthLink({ ...link, ...sealed, expiresAt }),
        set =>
          set &&
          auditEntry(actor, 'externalAuthLinks.set', userId, { serverId, expiresAt: expiresAt?.toJSON() ?? null }),
      )
      if (row) return shownLink(row)
      throw unknownRow('MCP server', serverId)
    },
    async list({ user: ref }) {
      const filter = ref === undefined ? {} : { userId: (await findUser(store, ref)).id }
      return (await store.listAuthLinks(filter)).map(shownLink)
    },
    async remove({ user: ref, serverId }, actor) {
      const { id: userId } = await findUser(store, ref)
      const isRemoved = await store.audited(
        tables => tables.removeAuthLink({ userId, serverId }),
        done => (done ? auditEntry(actor, 'externalAuthLinks.remove', userId, { serverId }) : null),
      )
      if (isRemoved) return {}
      throw unknownRow('link to an MCP server', serverId)
    },
  }
}

function shownServer({ clientSecret, ...row }: McpServerRow): McpServer {
  return { ...row, hasClientSecret: clientSecret !== null }
}

function shownLink({ accessToken: _, refreshToken, ...row }: AuthLinkRow): ExternalAuthLink {
  return { ...row, hasRefreshToken: refreshToken !== null }
}
