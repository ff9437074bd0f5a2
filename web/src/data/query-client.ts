import { QueryClient } from '@tanstack/react-query'

/** The cache of the page's reads. A lost connection is mended below, so a failed call is not called again here. */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: { retry: false, staleTime: 5_000, gcTime: 300_000, networkMode: 'always' },
    mutations: { retry: false, networkMode: 'always' },
  },
})
