/** `aibridge mcp`: the MCP servers whose tools may be offered to models, and users' tokens for them. */
import type { Command } from 'commander'
import type { ExternalAuthLink } from '../../shared/contract/admin/external-auth-links.js'
import type { McpServer, McpTestTool } from '../../shared/contract/admin/mcp-servers.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { clientSettings } from '../config/settings.js'
import { type Column, print, printFields, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrDuration } from './common/option-values.js'
import { type CommonOptions, withCommonOptions, withJsonOption, withSettings } from './common/options.js'

interface AddOptions extends CommonOptions {
  url: string
  allow?: string
  deny?: string
  inject?: boolean
  tokenUrl?: string
  clientId?: string
  clientSecretEnv?: string
  validateUrl?: string
}

interface LinkOptions extends CommonOptions {
  user: string
  accessTokenEnv: string
  refreshTokenEnv?: string
  expires?: Date
}

/** Adds `mcp add|list|remove|test|link|links|unlink`. */
export function addMcpCommands(program: Command): void {
  const mcp = program.command('mcp').description("MCP servers, and users' tokens for them")

  // Here `--url` is the MCP server's, so the aibridge server is found by BRIDGE_URL or by host and port.
  const { url: _url, ...place } = clientSettings
  const add = mcp
    .command('add <name>')
    .description(
      'add an MCP server, or change the one of this name, which keeps what is left out; an empty value takes it away',
    )
  withJsonOption(withSettings(add, place))
    .requiredOption('--url <url>', 'its streamable HTTP endpoint')
    .option('--allow <regex>', 'offer only tools whose name matches')
    .option('--deny <regex>', 'do not offer tools whose name matches')
    .option('--inject', 'put its tools into model requests, and run their calls')
    .option('--no-inject', 'leave that to the clients (default of a new server)')
    .option('--token-url <url>', 'where tokens are refreshed (OAuth 2)')
    .option('--client-id <id>', 'this service at the token URL')
    .option('--client-secret-env <variable>', 'the environment variable that holds its secret')
    .option('--validate-url <url>', 'responds with 2xx to a valid token, with 401 or 403 to any other')
    .action(async (name: string, options: AddOptions) => {
      const { url, allow, deny, inject, tokenUrl, clientId, clientSecretEnv, validateUrl, ...common } = options
      const server = await callAdmin(common, admin =>
        admin.mcpServers.upsert.mutate({
          id: name,
          url,
          toolAllowRegex: orNone(allow),
          toolDenyRegex: orNone(deny),
          inject,
          tokenUrl: orNone(tokenUrl),
          clientId: orNone(clientId),
          validateUrl: orNone(validateUrl),
          ...(clientSecretEnv !== undefined && { clientSecret: fromEnvironment(clientSecretEnv) }),
        }),
      )
      printResult(options, server, () => printFields({ ...server }))
    })

  withCommonOptions(mcp.command('list').description('all MCP servers')).action(async (options: CommonOptions) => {
    const list = await callAdmin(options, admin => admin.mcpServers.list.query())
    printResult(options, list, () => printTable(list, serverColumns, 'no MCP servers yet; add one with: mcp add NAME'))
  })

  withCommonOptions(mcp.command('remove <name>').description("forget it, and everybody's links to it")).action(
    async (name: string, options: CommonOptions) => {
      await callAdmin(options, admin => admin.mcpServers.remove.mutate({ id: name }))
      printResult(options, { id: name }, () => print(`removed MCP server ${name}`))
    },
  )

  withCommonOptions(
    mcp
      .command('test <name>')
      .description(
        "list an MCP server's tools with a user's token, and which of them are offered; exits 1 on a failure",
      ),
  )
    .requiredOption('--user <user>', 'whose token, by name or id')
    .action(async (id: string, { user, ...options }: CommonOptions & { user: string }) => {
      const result = await callAdmin(options, admin => admin.mcpServers.test.mutate({ id, user }))
      printResult(options, result, ({ tools, unusable }) => {
        printTable(tools, toolColumns, 'no tools')
        if (unusable > 0) print(`and ${unusable} without a name, which no client can call`)
      })
      if (!result.ok) throw rpcError('mcp_server_failed', `MCP server ${id}: ${result.message}`)
    })

  withCommonOptions(
    mcp.command('link <name>').description("keep a user's tokens for an MCP server, in place of older ones"),
  )
    .requiredOption('--user <user>', 'whose, by name or id')
    .requiredOption('--access-token-env <variable>', 'the environment variable that holds the access token')
    .option('--refresh-token-env <variable>', 'the one that holds the refresh token')
    .option('--expires <when>', 'when the access token expires: a duration such as 1h, or a time', value =>
      timeOrDuration(value),
    )
    .action(async (serverId: string, options: LinkOptions) => {
      const { user, accessTokenEnv, refreshTokenEnv, expires } = options
      const input = {
        user,
        serverId,
        accessToken: fromEnvironment(accessTokenEnv),
        ...(refreshTokenEnv !== undefined && { refreshToken: fromEnvironment(refreshTokenEnv) }),
        ...(expires && { expiresAt: expires }),
      }
      const link = await callAdmin(options, admin => admin.externalAuthLinks.set.mutate(input))
      printResult(options, link, () => print(`linked ${user} to MCP server ${serverId}`))
    })

  withCommonOptions(mcp.command('links').description('who is linked to which MCP server'))
    .option('--user <user>', 'only of this user, by name or id')
    .action(async ({ user, ...options }: CommonOptions & { user?: string }) => {
      const list = await callAdmin(options, admin =>
        admin.externalAuthLinks.list.query(user === undefined ? {} : { user }),
      )
      printResult(options, list, () => printTable(list, linkColumns, 'no links yet; add one with: mcp link NAME'))
    })

  withCommonOptions(mcp.command('unlink <name>').description("forget a user's tokens for an MCP server"))
    .requiredOption('--user <user>', 'whose, by name or id')
    .action(async (serverId: string, { user, ...options }: CommonOptions & { user: string }) => {
      await callAdmin(options, admin => admin.externalAuthLinks.remove.mutate({ user, serverId }))
      printResult(options, { user, serverId }, () => print(`unlinked ${user} from MCP server ${serverId}`))
    })
}

const serverColumns: Column<McpServer>[] = [
  ['NAME', server => server.id],
  ['URL', server => server.url],
  ['ALLOW', server => server.toolAllowRegex],
  ['DENY', server => server.toolDenyRegex],
  ['INJECT', server => (server.inject ? 'yes' : 'no')],
  ['TOKEN URL', server => server.tokenUrl],
  ['VALIDATE URL', server => server.validateUrl],
]

const toolColumns: Column<McpTestTool>[] = [
  ['TOOL', tool => tool.name],
  ['OFFERED', tool => (tool.offered ? 'yes' : 'no')],
  ['DESCRIPTION', tool => (tool.description.length > 80 ? `${tool.description.slice(0, 80)}…` : tool.description)],
]

const linkColumns: Column<ExternalAuthLink>[] = [
  ['USER', link => link.username ?? shortIdOf(link.userId)],
  ['SERVER', link => link.serverId],
  ['EXPIRES', link => link.expiresAt],
  ['REFRESHED', link => (link.hasRefreshToken ? 'yes' : 'no')],
  ['UPDATED', link => link.updatedAt],
]

function orNone(value: string | undefined): string | null | undefined {
  return value === '' ? null : value
}

/** Other users of the machine see arguments; they do not see the environment. */
function fromEnvironment(variable: string): string {
  const value = process.env[variable]?.trim()
  if (value) return value
  throw new RpcError('BAD_REQUEST', `environment variable ${variable}: is empty`, { reason: 'config_invalid' })
}
