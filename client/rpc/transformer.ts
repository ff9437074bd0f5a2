/** How values become JSON and back; the router's own. Left out where the router has none. */
export interface DataTransformer {
  serialize(value: unknown): unknown
  deserialize(value: unknown): unknown
}

/** For routers without a transformer. */
export const noTransformer: DataTransformer = { serialize: value => value, deserialize: value => value }
