import { copyJsonValue } from '../../shared/json-copy.js'
import { connectionLimits } from '../../shared/limits.js'

/** How values become JSON and back; the router's own. Left out where the router has none. */
export interface DataTransformer {
  serialize(value: unknown): unknown
  deserialize(value: unknown): unknown
}

/** For routers without a transformer. The copy is what is sent, and sent again, whatever the caller does to the value meanwhile. */
export const noTransformer: DataTransformer = {
  serialize: value => copyJsonValue(value, connectionLimits.maxMessageBytes),
  deserialize: value => value,
}
