/** Prices of models. */
import { queryOptions } from '@tanstack/react-query'
import { api } from './client.js'
import { useAction } from './use-action.js'

const key = ['prices'] as const

/** The prices that operators have set, and the models without one. */
export const pricesQuery = () =>
  queryOptions({ queryKey: key, queryFn: ({ signal }) => api().admin.prices.list.query({}, { signal }) })

/** The price of a model at a provider, step by step. */
export const explainQuery = (provider: string, model: string) =>
  queryOptions({
    queryKey: [...key, 'explain', provider, model],
    queryFn: ({ signal }) => api().admin.prices.explain.query({ provider, model }, { signal }),
    enabled: provider !== '' && model !== '',
  })

type SetInput = Parameters<ReturnType<typeof api>['admin']['prices']['set']['mutate']>[0]

/** Sets the price of a model. */
export const useSetPrice = (onDone: () => void) =>
  useAction({
    run: (input: SetInput) => api().admin.prices.set.mutate(input),
    changes: [key],
    done: (_, { model }) => `The price of ${model} holds for requests from now on.`,
    onDone,
  })

/** Removes a price that was set. */
export const useRemovePrice = () =>
  useAction({
    run: (input: { provider?: string; model: string }) => api().admin.prices.remove.mutate(input),
    changes: [key],
    done: () => 'The price is removed.',
  })

/** Prices old records by the prices of their days, part by part. */
export const useBackfill = () =>
  useAction({
    run: async (_: undefined) => {
      const sum = { priced: 0, unpriced: 0 }
      let cursor: string | null = null
      do {
        const part = await api().admin.prices.backfill.mutate(cursor === null ? {} : { cursor })
        sum.priced += part.priced
        sum.unpriced += part.unpriced
        cursor = part.nextCursor
      } while (cursor !== null)
      return sum
    },
    changes: [key, ['usage'], ['interceptions'], ['interception']],
    done: ({ priced, unpriced }) => `Priced ${priced} records as estimates; ${unpriced} stay without a price.`,
  })
