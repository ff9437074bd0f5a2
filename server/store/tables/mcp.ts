/** MCP servers and the tokens for them in SQL; the guarantees stand in store.ts. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../sql/schema.js'
import { usernameOf } from '../sql/username-of.js'
import type { McpStore } from '../store.js'

const serverColumns = [
  'id',
  'url',
  'tool_allow_regex as toolAllowRegex',
  'tool_deny_regex as toolDenyRegex',
  'inject',
  'token_url as tokenUrl',
  'client_id as clientId',
  'client_secret as clientSecret',
  'validate_url as validateUrl',
  'created_at as createdAt',
  'updated_at as updatedAt',
] as const

const linkColumns = [
  'user_id as userId',
  usernameOf('external_auth_links.user_id'),
  'server_id as serverId',
  'access_token as accessToken',
  'refresh_token as refreshToken',
  'expires_at as expiresAt',
  'created_at as createdAt',
  'updated_at as updatedAt',
] as const

/** The MCP servers and links of a database. */
export function mcpStore(db: Kysely<Database>): McpStore {
  const linkOf = ({ userId, serverId }: { userId: string; serverId: string }) =>
    db.updateTable('external_auth_links').where('user_id', '=', userId).where('server_id', '=', serverId)

  return {
    listMcpServers: () => db.selectFrom('mcp_servers').select(serverColumns).orderBy('id').execute(),

    upsertMcpServer({ id, ...server }) {
      // kysely leaves undefined out.
      const values = {
        url: server.url,
        tool_allow_regex: server.toolAllowRegex,
        tool_deny_regex: server.toolDenyRegex,
        inject: server.inject,
        token_url: server.tokenUrl,
        client_id: server.clientId,
        client_secret: server.clientSecret,
        validate_url: server.validateUrl,
      }
      return db
        .insertInto('mcp_servers')
        .values({ id, ...values })
        .onConflict(conflict => conflict.column('id').doUpdateSet({ ...values, updated_at: sql`now()` }))
        .returning(serverColumns)
        .executeTakeFirstOrThrow()
    },

    async removeMcpServer(id) {
      const { numDeletedRows } = await db.deleteFrom('mcp_servers').where('id', '=', id).executeTakeFirst()
      return numDeletedRows > 0n
    },

    async setAuthLink({ userId, serverId, accessToken, refreshToken, expiresAt }) {
      const tokens = { access_token: accessToken, refresh_token: refreshToken, expires_at: expiresAt }
      const row = await db
        .insertInto('external_auth_links')
        .columns(['user_id', 'server_id', 'access_token', 'refresh_token', 'expires_at'])
        .expression(
          db
            .selectFrom('mcp_servers')
            .select([
              sql<string>`${userId}::uuid`.as('user_id'),
              'id',
              sql<Uint8Array>`${accessToken}::bytea`.as('access_token'),
              sql<Uint8Array>`${refreshToken}::bytea`.as('refresh_token'),
              sql<Date>`${expiresAt}::timestamptz`.as('expires_at'),
            ])
            .where('id', '=', serverId),
        )
        .onConflict(conflict =>
          conflict
            .columns(['user_id', 'server_id'])
            .doUpdateSet({ ...tokens, refresh_lease: null, refresh_lease_until: null, updated_at: sql`now()` }),
        )
        .returning(linkColumns)
        .executeTakeFirst()
      return row ?? null
    },

    listAuthLinks({ userId, serverIds }) {
      let select = db.selectFrom('external_auth_links').select(linkColumns)
      if (userId !== undefined) select = select.where('user_id', '=', userId)
      if (serverIds !== undefined) {
        if (serverIds.length === 0) return Promise.resolve([])
        select = select.where('server_id', 'in', serverIds)
      }
      return select.orderBy('user_id').orderBy('server_id').execute()
    },

    async removeAuthLink({ userId, serverId }) {
      const { numDeletedRows } = await db
        .deleteFrom('external_auth_links')
        .where('user_id', '=', userId)
        .where('server_id', '=', serverId)
        .executeTakeFirst()
      return numDeletedRows > 0n
    },

    async claimRefresh({ refreshToken, lease, leaseMs, ...link }) {
      const { numUpdatedRows } = await linkOf(link)
        .set({
          refresh_lease: lease,
          refresh_lease_until: sql<Date>`clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond'`,
        })
        .where('refresh_token', '=', refreshToken)
        .where(({ eb }) =>
          eb.or([eb('refresh_lease', 'is', null), eb('refresh_lease_until', '<', sql<Date>`clock_timestamp()`)]),
        )
        .executeTakeFirst()
      return numUpdatedRows > 0n
    },

    async finishRefresh({ lease, ...link }, tokens) {
      if (!tokens) {
        const { numUpdatedRows } = await linkOf(link)
          .set({ refresh_lease: null, refresh_lease_until: null })
          .where('refresh_lease', '=', lease)
          .executeTakeFirst()
        return numUpdatedRows > 0n
      }
      const { accessToken, refreshToken, expiresAt } = tokens
      const { numUpdatedRows } = await linkOf(link)
        .set({
          access_token: accessToken,
          refresh_token: refreshToken,
          expires_at: expiresAt,
          refresh_lease: null,
          refresh_lease_until: null,
          updated_at: sql`now()`,
        })
        // The second is for a repeat: a sealed secret is never the same twice.
        .where(({ eb }) => eb.or([eb('refresh_lease', '=', lease), eb('access_token', '=', accessToken)]))
        .executeTakeFirst()
      return numUpdatedRows > 0n
    },
  }
}
