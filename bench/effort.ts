/** How much is measured. */
export interface Effort {
  rounds: number
  /** rounds whose figures are dropped: V8 compiles, and the rows' rates are found */
  warmUps: number
  /** time of one row and figure in a round */
  measureMs: number
  /** calls of each worker, at least: the last calls have fewer others in flight, so they must be a small part */
  turns: number
  /** idle connections of one row */
  connections: number
}
