import { copyJsonValue } from '../../shared/json-copy.js'

/** How values become JSON and back; the router's own. Left out where the router has none. */
export interface DataTransformer {
  serialize(value: unknown): unknown
  deserialize(value: unknown): unknown
}

/** For routers without a transformer. The copy is what is sent, and sent again, whatever the caller does to the value meanwhile. Its size is the duplex's to judge. */
export const noTransformer: DataTransformer = {
  serialize: value => copyJsonValue(value, Number.POSITIVE_INFINITY),
  deserialize: value => value,
}
