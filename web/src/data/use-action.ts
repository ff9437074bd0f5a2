import { type QueryKey, useMutation, useQueryClient } from '@tanstack/react-query'
import { errorText } from './errors.js'
import { notify } from './notices.js'

/** Options of {@link useAction}. */
export interface ActionOptions<Input, Output> {
  run: (input: Input) => Promise<Output>
  /** queries that show the changed rows */
  changes?: readonly QueryKey[]
  /** the sentence that is shown after success */
  done?: (output: Output, input: Input) => string
  onDone?: (output: Output, input: Input) => void
}

/** A write: calls the server, reads the changed rows again, and says how it went. */
export function useAction<Input, Output>({ run, changes = [], done, onDone }: ActionOptions<Input, Output>) {
  const queries = useQueryClient()
  return useMutation<Output, Error, Input>({
    mutationFn: run,
    onSuccess: (output, input) => {
      for (const queryKey of changes) void queries.invalidateQueries({ queryKey })
      if (done) notify('ok', done(output, input))
      onDone?.(output, input)
    },
    onError: error => notify('bad', errorText(error)),
  })
}
