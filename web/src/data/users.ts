/** Users. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['users'] as const

/** All users, deleted ones included. */
export const usersQuery = () =>
  queryOptions({ queryKey: key, queryFn: ({ signal }) => api().admin.users.list.query(undefined, { signal }) })

/** Creates a user. */
export const useCreateUser = (onDone: (user: { username: string }) => void) =>
  useAction({
    run: (username: string) => api().admin.users.create.mutate({ username }),
    changes: [key],
    done: ({ username }) => `The user ${username} is there.`,
    onDone,
  })

/** Suspends a user, or makes the user active again. */
export const useSetStatus = () =>
  useAction({
    run: (input: { user: string; status: 'active' | 'suspended' }) => api().admin.users.setStatus.mutate(input),
    changes: [key],
    done: (_, { status }) => (status === 'suspended' ? 'The user is suspended.' : 'The user is active again.'),
  })

/** Deletes a user; the records stay. */
export const useDeleteUser = (onDone: () => void) =>
  useAction({
    run: (user: string) => api().admin.users.delete.mutate({ user }),
    changes: [key, ['keys']],
    done: () => 'The user is deleted.',
    onDone,
  })

/** Erases a user with all records, slice by slice. */
export const usePurgeUser = (onDone: () => void) =>
  useAction({
    run: async (user: string) => {
      for (;;) {
        const progress = await api().admin.users.purge.mutate({ user })
        if (progress.done) return progress
      }
    },
    changes: [key, ['keys'], ['interceptions']],
    done: ({ interceptions, records }) => `Erased ${interceptions} requests with ${records} records.`,
    onDone,
  })
