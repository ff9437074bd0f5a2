/** Keys of clients and of daemons. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { isOperator, ownKeys } from './own.js'
import { useAction } from './use-action.js'

const key = ['keys'] as const
const daemons = ['daemon-keys'] as const

/** Keys of all users, or of one. */
export const keysQuery = (user?: string) =>
  queryOptions({
    queryKey: [...key, user ?? null],
    queryFn: ({ signal }) =>
      isOperator()
        ? api().admin.apiKeys.list.query(user === undefined ? {} : { user }, { signal })
        : ownKeys().list.query(undefined, { signal }),
  })

/** What a new key needs; a user makes keys for nobody else. */
export interface NewKey {
  user: string
  name?: string
  expiresAt?: Date
}

/** Creates a key. The response is the only one with the secret. */
export const useCreateKey = () =>
  useAction({
    run: ({ user, ...input }: NewKey) =>
      isOperator() ? api().admin.apiKeys.create.mutate({ user, ...input }) : ownKeys().create.mutate(input),
    changes: [key],
  })

/** Lets a key expire now. */
export const useExpireKey = () =>
  useAction({
    run: async (id: string): Promise<unknown> =>
      isOperator() ? api().admin.apiKeys.expire.mutate({ id }) : ownKeys().expire.mutate({ id }),
    changes: [key],
    done: () => 'The key has expired.',
  })

/** Revokes a key: removes it for good. */
export const useRevokeKey = () =>
  useAction({
    run: async (id: string): Promise<unknown> =>
      isOperator() ? api().admin.apiKeys.delete.mutate({ id }) : ownKeys().revoke.mutate({ id }),
    changes: [key],
    done: () => 'The key is revoked.',
  })

/** Keys of remote daemons. */
export const daemonKeysQuery = () =>
  queryOptions({ queryKey: daemons, queryFn: ({ signal }) => api().admin.daemonKeys.list.query(undefined, { signal }) })

/** Creates a key of a daemon. */
export const useCreateDaemonKey = () =>
  useAction({
    run: (input: { name?: string; delegate: boolean; expiresAt?: Date }) => api().admin.daemonKeys.create.mutate(input),
    changes: [daemons],
  })

/** Revokes a key of a daemon. */
export const useRevokeDaemonKey = () =>
  useAction({
    run: (id: string) => api().admin.daemonKeys.revoke.mutate({ id }),
    changes: [daemons],
    done: () => 'The key is revoked, and its daemons are disconnected.',
  })
