import { type Deadline, Deadlines, now } from '../../shared/rpc/deadlines.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { times } from '../../shared/rpc/limits.js'
import { tooMany } from './rejections.js'

/** A procedure that has not returned although its call was settled. */
export interface Straggler {
  readonly path: string
  readonly state: 'late' | 'hanging' | 'gone'
}

class WatchedStraggler implements Straggler, Deadline {
  readonly path: string
  readonly deadlineAt = now() + times.hangingMs
  state: 'late' | 'hanging' | 'gone' = 'late'
  readonly #onHanging: () => void

  constructor(path: string, onHanging: () => void) {
    this.path = path
    this.#onHanging = onHanging
  }

  onDeadline(): void {
    this.state = 'hanging'
    this.#onHanging()
  }
}

/**
 * The procedures that run on after their calls were settled, of all connections of a group:
 * ```
 * late ──the procedure returns──▶ gone
 *   └──hangingMs──▶ hanging ──the procedure returns──▶ gone
 * ```
 * A procedure that hangs is a fault of its code and cannot be ended. Each keeps a place of its connection, so a
 * connection with too many is left behind, see {@link ConnectionStragglers}; what is left behind is limited for each
 * procedure, so that one of them neither fills the memory nor keeps others from running.
 */
export class Stragglers {
  readonly #deadlines = new Deadlines()
  /** number of hanging procedures by path */
  readonly #hanging = new Map<string, number>()
  #late = 0

  /** Watches a procedure until {@link delete}. `onHanging` is called when it hangs. */
  add(path: string, onHanging: () => void): Straggler {
    const straggler = new WatchedStraggler(path, () => {
      this.#late--
      this.#hanging.set(path, this.hanging(path) + 1)
      onHanging()
    })
    this.#late++
    this.#deadlines.add(straggler)
    return straggler
  }

  /** Forgets a procedure that has returned. */
  delete(straggler: Straggler): void {
    const watched = straggler as WatchedStraggler // each is made by add()
    if (watched.state === 'hanging') {
      const left = this.hanging(watched.path) - 1
      if (left > 0) this.#hanging.set(watched.path, left)
      else this.#hanging.delete(watched.path)
    } else if (watched.state === 'late') {
      this.#deadlines.delete(watched)
      // No timer goes on for nothing: most return in the next microtask.
      if (--this.#late === 0) this.#deadlines.clear()
    }
    watched.state = 'gone'
  }

  /** Returns how many procedures of a path hang. */
  hanging(path: string): number {
    return this.#hanging.size === 0 ? 0 : (this.#hanging.get(path) ?? 0)
  }

  /** Watches no more: the group has closed. */
  stop(): void {
    this.#deadlines.clear()
  }
}

const ofGroups = new WeakMap<object, Stragglers>()

/**
 * Returns the procedures of a group's connections; for a connection without a group, those of that connection alone.
 */
export function stragglersOf(group: object | undefined): Stragglers {
  const known = group && ofGroups.get(group)
  if (known) return known
  const stragglers = new Stragglers()
  if (group) ofGroups.set(group, stragglers)
  return stragglers
}

/** The function of the connection that its stragglers need. */
interface Owner {
  /** Asks the client to go on elsewhere. */
  moveAway(error: RpcError): void
}

/**
 * The same of one connection. When half of the places of `maxInFlight` are taken by procedures that hang, the client is
 * asked to go on elsewhere, once.
 */
export class ConnectionStragglers {
  readonly #all: Stragglers
  readonly #maxInFlight: number
  readonly #owner: Owner
  #hanging = 0

  constructor(all: Stragglers, maxInFlight: number, owner: Owner) {
    this.#all = all
    this.#maxInFlight = maxInFlight
    this.#owner = owner
  }

  /** Watches the procedure of a call that was settled. */
  add(path: string): Straggler {
    return this.#all.add(path, () => {
      this.#hanging++
      if (this.#hanging === Math.ceil(this.#maxInFlight / 2)) this.#owner.moveAway(this.#tooMany(path))
    })
  }

  /** Forgets a procedure that has returned. */
  delete(straggler: Straggler): void {
    if (straggler.state === 'hanging') this.#hanging--
    this.#all.delete(straggler)
  }

  /** Returns the error of a call whose procedure hangs too often; undefined for any other call. */
  rejectionOf(path: string): RpcError | undefined {
    const hanging = this.#all.hanging(path)
    if (hanging < this.#maxInFlight) return undefined
    const problem = `${count(hanging)} calls of ${path} are over and have not returned`
    const limit = `maxInFlight ${count(this.#maxInFlight)} allows no more`
    return tooMany('too_many_calls', `${problem}; ${limit}`)
  }

  #tooMany(path: string): RpcError {
    const seconds = times.hangingMs / 1_000
    const problem = `${count(this.#hanging)} procedures have not returned ${seconds} s after the end of their calls`
    const detail = `half of maxInFlight ${count(this.#maxInFlight)}; the last one is ${path}`
    const message = `${problem}, ${detail}. The client is asked to move to another connection`
    return new RpcError('INTERNAL_SERVER_ERROR', message)
  }
}

function count(number: number): string {
  return number.toLocaleString('en')
}
