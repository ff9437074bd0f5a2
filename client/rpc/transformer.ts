import { copyJsonValue } from '../../shared/rpc/json/json-copy.js'

/** Encodes values as JSON and decodes them; the same as the router's. Absent for a router without a transformer. */
export interface DataTransformer {
  serialize(value: unknown): unknown
  deserialize(value: unknown): unknown
}

/** One transformer both ways, or one for inputs and another for the server's messages; as given to `initTRPC`. */
type GivenTransformer = DataTransformer | { input: DataTransformer; output: DataTransformer }

/** The half of a router's transformer that a client needs, from options that are typed by the router. */
export function clientTransformer(options: { transformer?: unknown }): DataTransformer {
  const transformer = options.transformer as GivenTransformer | undefined // tRPC's type of this option: required where the router has one
  if (transformer === undefined) return noTransformer
  if (!('input' in transformer)) return transformer
  const { input, output } = transformer
  return { serialize: value => input.serialize(value), deserialize: value => output.deserialize(value) }
}

/**
 * Copies values for routers without a transformer. The copy is sent, and sent again, unchanged by the caller's later
 * edits. The duplex checks the size.
 */
const noTransformer: DataTransformer = {
  serialize: value => copyJsonValue(value, Number.POSITIVE_INFINITY),
  deserialize: value => value,
}
