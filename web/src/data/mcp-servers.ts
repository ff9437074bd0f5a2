/** MCP servers, and users' tokens for them. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['mcp-servers'] as const
const links = ['mcp-links'] as const

/** All MCP servers. */
export const mcpServersQuery = () =>
  queryOptions({ queryKey: key, queryFn: ({ signal }) => api().admin.mcpServers.list.query(undefined, { signal }) })

/** The tokens of users, without their secrets. */
export const mcpLinksQuery = () =>
  queryOptions({ queryKey: links, queryFn: ({ signal }) => api().admin.externalAuthLinks.list.query({}, { signal }) })

type Upsert = Parameters<ReturnType<typeof api>['admin']['mcpServers']['upsert']['mutate']>[0]

/** Adds or changes an MCP server. */
export const useSaveMcpServer = (onDone: (id: string) => void) =>
  useAction({
    run: (input: Upsert) => api().admin.mcpServers.upsert.mutate(input),
    changes: [key],
    done: (_, { id }) => `The MCP server ${id} is saved.`,
    onDone: (_, { id }) => onDone(id),
  })

/** Removes an MCP server with all links. */
export const useRemoveMcpServer = (onDone: () => void) =>
  useAction({
    run: (id: string) => api().admin.mcpServers.remove.mutate({ id }),
    changes: [key, links],
    done: (_, id) => `The MCP server ${id} is removed.`,
    onDone,
  })

/** Lists the tools of an MCP server, as a user sees them. */
export const useTestMcpServer = () =>
  useAction({ run: (input: { id: string; user: string }) => api().admin.mcpServers.test.mutate(input) })

/** Removes a user's token. */
export const useRemoveMcpLink = () =>
  useAction({
    run: (input: { user: string; serverId: string }) => api().admin.externalAuthLinks.remove.mutate(input),
    changes: [links],
    done: () => 'The link is removed.',
  })
