/** Workspace agents and their processes. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['agents'] as const

/** All agents; connections change by themselves. */
export const agentsQuery = () =>
  queryOptions({
    queryKey: key,
    queryFn: ({ signal }) => api().admin.agents.list.query(undefined, { signal }),
    refetchInterval: 5_000,
  })

/** The newest processes of a connected agent. */
export const processesQuery = (agent: string, isConnected: boolean) =>
  queryOptions({
    queryKey: ['agent-processes', agent],
    queryFn: ({ signal }) => api().admin.agents.processes.query({ agent }, { signal }),
    enabled: isConnected,
    refetchInterval: 3_000,
  })

/** The output of a process, read again while it runs. */
export const processOutputQuery = (agent: string, id: string) =>
  queryOptions({
    queryKey: ['agent-output', agent, id],
    queryFn: ({ signal }) => api().admin.agents.output.query({ agent, id, waitMs: 0 }, { signal }),
    refetchInterval: query => (query.state.data?.running === false || query.state.error ? false : 1_000),
  })

/** Creates an agent. The response is the only one with the key. */
export const useCreateAgent = () =>
  useAction({
    run: (input: { name: string; user: string; expiresAt?: Date }) => api().admin.agents.create.mutate(input),
    changes: [key],
  })

/** Revokes the key of an agent. */
export const useRevokeAgent = () =>
  useAction({
    run: (agent: string) => api().admin.agents.revoke.mutate({ agent }),
    changes: [key],
    done: () => 'The agent is revoked and disconnected.',
  })

/** Ends a process of an agent. */
export const useSignalProcess = (agent: string) =>
  useAction({
    run: (input: { id: string; signal: 'terminate' | 'kill' }) => api().admin.agents.signal.mutate({ agent, ...input }),
    changes: [['agent-processes', agent]],
    done: () => 'The signal is sent.',
  })
