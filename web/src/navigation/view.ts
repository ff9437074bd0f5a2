import type { Params } from './match.js'

/** A view gets the parameters of its path. */
export interface ViewProps {
  params: Params
}
