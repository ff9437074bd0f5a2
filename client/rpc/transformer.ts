import { copyJsonValue } from '../../shared/rpc/json-copy.js'

/** How values become JSON and back; the router's own. Left out where the router has none. */
export interface DataTransformer {
  serialize(value: unknown): unknown
  deserialize(value: unknown): unknown
}

/** One transformer both ways, or one for inputs and another for what the server sends; as given to `initTRPC`. */
type GivenTransformer = DataTransformer | { input: DataTransformer; output: DataTransformer }

/** The half of a router's transformer that a client needs, from options that are typed by the router. */
export function clientTransformer(options: { transformer?: unknown }): DataTransformer {
  const transformer = options.transformer as GivenTransformer | undefined // tRPC's type for it: required where the router has one
  if (transformer === undefined) return noTransformer
  if (!('input' in transformer)) return transformer
  const { input, output } = transformer
  return { serialize: value => input.serialize(value), deserialize: value => output.deserialize(value) }
}

/** For routers without a transformer. The copy is what is sent, and sent again, whatever the caller does to the value meanwhile. Its size is the duplex's to judge. */
const noTransformer: DataTransformer = {
  serialize: value => copyJsonValue(value, Number.POSITIVE_INFINITY),
  deserialize: value => value,
}
