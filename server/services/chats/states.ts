/**
 * The states of a chat, and the transitions between them, as one table.
 *
 * A cell is a status (W waiting, R running, I interrupting, E error) with an empty (0) or a non-empty (1) queue; X
 * marks an archived chat. A chat at rest has no queue.
 */
import type { ChatRow } from '../../store/store.js'

/** The cells of {@link transitions}. */
export const cells = ['W', 'R0', 'R1', 'I0', 'I1', 'E0', 'E1', 'XW', 'XE0', 'XE1'] as const
/** One of {@link cells}. */
export type Cell = (typeof cells)[number]

/**
 * Action → cell → the cells behind it. An action that a cell does not list is rejected there, and changes nothing. The
 * actions of the second group are the runner's.
 */
export const transitions = {
  send: { W: ['R0'], R0: ['R1'], R1: ['R1'], I0: ['I1'], I1: ['I1'], E0: ['R0'], E1: ['R1'] },
  sendAndInterrupt: { W: ['R0'], R0: ['I1'], R1: ['I1'], I0: ['I1'], I1: ['I1'], E0: ['R0'], E1: ['R1'] },
  edit: { W: ['R0'], R0: ['R0'], R1: ['R0'], I0: ['R0'], I1: ['R0'], E0: ['R0'], E1: ['R0'] },
  interrupt: { W: ['W'], R0: ['I0'], R1: ['I1'], I0: ['I0'], I1: ['I1'], E0: ['E0'], E1: ['E1'] },
  interruptAndClear: { W: ['W'], R0: ['I0'], R1: ['I0'], I0: ['I0'], I1: ['I0'], E0: ['E0'], E1: ['E0'] },
  dequeue: { R1: ['R0', 'R1'], I1: ['I0', 'I1'], E1: ['E0', 'E1'] },
  promote: { R1: ['I1'], I1: ['I1'], E1: ['R0', 'R1'] },
  retry: { E0: ['R0'], E1: ['R1'] },
  archive: { W: ['XW'], E0: ['XE0'], E1: ['XE1'], XW: ['XW'], XE0: ['XE0'], XE1: ['XE1'] },
  unarchive: { XW: ['W'], XE0: ['E0'], XE1: ['E1'], W: ['W'], E0: ['E0'], E1: ['E1'] },

  beginAttempt: { R0: ['R0'], R1: ['R1'] },
  noteRetry: { R0: ['R0'], R1: ['R1'] },
  noteAgentInstance: { R0: ['R0'], R1: ['R1'] },
  commitStep: { R0: ['R0'], R1: ['R1'] },
  finishTurn: { R0: ['W'], R1: ['R0', 'R1'] },
  failTurn: { R0: ['E0'], R1: ['E1'] },
  finishInterrupt: { I0: ['W'], I1: ['R0', 'R1'] },
} as const satisfies Record<string, Partial<Record<Cell, readonly Cell[]>>>

/** An action of {@link transitions}. */
export type Action = keyof typeof transitions

/** Returns the cell of a chat. */
export function cellOf({ status, archived }: Pick<ChatRow, 'status' | 'archived'>, hasQueue: boolean): Cell {
  const queue = hasQueue ? 1 : 0
  switch (status) {
    case 'waiting':
      return archived ? 'XW' : 'W'
    case 'running':
      return `R${queue}`
    case 'interrupting':
      return `I${queue}`
    case 'error':
      return archived ? `XE${queue}` : `E${queue}`
  }
}

/** Returns whether a cell takes an action. */
export function takes(cell: Cell, action: Action): boolean {
  return Object.hasOwn(transitions[action], cell)
}
