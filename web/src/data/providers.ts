/** Providers and their keys. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['providers'] as const

/** All providers. Failures and rejected keys appear within seconds. */
export const providersQuery = () =>
  queryOptions({
    queryKey: key,
    queryFn: ({ signal }) => api().admin.providers.list.query(undefined, { signal }),
    refetchInterval: 15_000,
  })

type Upsert = Parameters<ReturnType<typeof api>['admin']['providers']['upsert']['mutate']>[0]

/** Adds or changes a provider. */
export const useSaveProvider = (onDone?: (name: string) => void) =>
  useAction({
    run: (input: Upsert) => api().admin.providers.upsert.mutate(input),
    changes: [key],
    done: (_, { name }) => `The provider ${name} is saved.`,
    onDone: (_, { name }) => onDone?.(name),
  })

/** Enables or disables a provider. */
export const useEnableProvider = () =>
  useAction({
    run: (input: { name: string; enabled: boolean }) => api().admin.providers.setEnabled.mutate(input),
    changes: [key],
    done: (_, { name, enabled }) => `The provider ${name} is ${enabled ? 'enabled' : 'disabled'}.`,
  })

/** Removes a provider and its keys. */
export const useRemoveProvider = (onDone: () => void) =>
  useAction({
    run: (name: string) => api().admin.providers.remove.mutate({ name }),
    changes: [key],
    done: (_, name) => `The provider ${name} is removed.`,
    onDone,
  })

/** Asks a provider for its models. */
export const useTestProvider = () => useAction({ run: (name: string) => api().admin.providers.test.mutate({ name }) })

/** Adds a key behind the others. */
export const useAddProviderKey = (onDone: () => void) =>
  useAction({
    run: (input: { name: string; keys: string[] }) => api().admin.providers.keys.add.mutate(input),
    changes: [key],
    done: () => 'The key is added.',
    onDone,
  })

/** Forgets a key. */
export const useRemoveProviderKey = () =>
  useAction({
    run: (input: { name: string; ids: string[] }) => api().admin.providers.keys.remove.mutate(input),
    changes: [key],
    done: () => 'The key is removed.',
  })

/** Puts the keys in an order; the first one is preferred. */
export const useOrderProviderKeys = () =>
  useAction({
    run: (input: { name: string; ids: string[] }) => api().admin.providers.keys.order.mutate(input),
    changes: [key],
    done: () => 'The order is saved.',
  })
