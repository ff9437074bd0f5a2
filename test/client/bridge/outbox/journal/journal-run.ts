/** A journal on a {@link MemoryDisk} beside the states that it may be recovered in. */
import { setImmediate as immediate } from 'node:timers/promises'
import { vi } from 'vitest'
import { type Journal, openJournal } from '../../../../../client/bridge/outbox/journal/journal.js'
import type { FsyncMode } from '../../../../../client/bridge/outbox/journal/segments.js'
import { silentLogger } from '../../../../../shared/values/log.js'
import { fc } from '../../../../fixtures/random.js'
import type { MemoryDisk, MemoryProcess } from './memory-disk.js'

/** What a caller does. */
export type Action =
  | { do: 'put'; key: number; slot: number; size: number; replaces: boolean }
  | { do: 'remove'; key: number }
  /** all puts are settled */
  | { do: 'wait' }
  /** the time passes after which the journal syncs and deletes */
  | { do: 'tick' }
  | { do: 'rewrite' }

const size = fc.oneof({ weight: 5, arbitrary: fc.nat(60) }, { weight: 1, arbitrary: fc.nat(2_000) })

/** Makes an action of its fields. */
export function action<D extends string, T extends object>(kind: D, fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return fc.record(fields).map(values => ({ do: kind, ...values }))
}

/** What a caller does, in the usual proportions. */
export const actions = fc.oneof(
  { weight: 8, arbitrary: action('put', { key: fc.nat(5), slot: fc.nat(2), size, replaces: fc.boolean() }) },
  { weight: 3, arbitrary: action('remove', { key: fc.nat(5) }) },
  { weight: 3, arbitrary: action('wait', {}) },
  { weight: 2, arbitrary: action('tick', {}) },
  { weight: 1, arbitrary: action('rewrite', {}) },
)

/** Key → slot → payload. */
export type State = ReadonlyMap<string, ReadonlyMap<string, string>>

/** Returns a text that is the same for the same states. */
export function textOf(state: State): string {
  return JSON.stringify([...state].map(([key, slots]) => [key, [...slots].sort()]).sort())
}

interface Step {
  key: string
  slot?: string
  payload?: string
  replaces?: boolean
  isRejected: boolean
}

const opened: Journal[] = []

/** Closes every journal that was opened, also those of dead processes, which would go on for ever. */
export async function closeJournals(): Promise<void> {
  for (const journal of opened.splice(0)) await journal.close()
}

/** One process with its journal, and all that was asked of it. */
export class JournalRun {
  readonly journal: Journal
  readonly process: MemoryProcess
  readonly found: State
  readonly #steps: Step[] = []
  #waiting: Promise<void>[] = []
  /** that many steps at least are recovered */
  #promised = 0

  private constructor(journal: Journal, process: MemoryProcess) {
    this.journal = journal
    this.process = process
    this.found = new Map(
      journal
        .takeRecovered()
        .map(({ key, slots }) => [key, new Map([...slots].map(([slot, payload]) => [slot, String(payload)]))]),
    )
  }

  /** Opens the journal. Returns undefined if the process died meanwhile. */
  static async open(
    disk: MemoryDisk,
    process: MemoryProcess,
    options: { fsync: FsyncMode; segmentBytes: number },
  ): Promise<JournalRun | undefined> {
    try {
      const journal = await openJournal({ folder: disk.folder, logger: silentLogger, files: process, ...options })
      opened.push(journal)
      return process.isDead ? undefined : new JournalRun(journal, process)
    } catch (error) {
      if (!process.isDead) throw error
      return undefined
    }
  }

  /** Puts and removals wait for nothing, so that several share a group. */
  act(action: Action): Promise<void> | undefined {
    switch (action.do) {
      case 'put':
        return void this.#put(`key ${action.key}`, `slot ${action.slot}`, action.size, action.replaces)
      case 'remove':
        this.#steps.push({ key: `key ${action.key}`, isRejected: false })
        return void this.journal.remove(`key ${action.key}`)
      case 'wait':
        return this.settled()
      case 'tick':
        return this.tick()
      case 'rewrite':
        // An error of the disk leaves what was there.
        return this.journal.rewrite().catch(() => {})
    }
  }

  #put(key: string, slot: string, size: number, replaces: boolean): void {
    const payload = `${this.#steps.length}:`.padEnd(size, 'ü')
    const step = { key, slot, payload, replaces, isRejected: false }
    const count = this.#steps.push(step)
    const put = this.journal.put(key, slot, payload, { replaces }).then(
      () => {
        this.#promised = Math.max(this.#promised, count)
      },
      () => {
        step.isRejected = !this.process.isDead
      },
    )
    this.#waiting.push(put)
  }

  /** Waits for all puts. */
  async settled(): Promise<void> {
    await Promise.all(this.#waiting.splice(0))
  }

  /** Lets the time pass after which the journal syncs and deletes, also after an error. */
  async tick(): Promise<void> {
    vi.advanceTimersByTime(2_000)
    // All of the work is done in microtasks.
    await immediate()
  }

  async close(): Promise<void> {
    await this.journal.close().catch((error: unknown) => {
      if (!this.process.isDead) throw error
    })
    if (!this.process.isDead) this.#promised = this.#steps.length
    await this.settled()
  }

  /** Returns the state after all steps that were not rejected. */
  get last(): State {
    return this.#stateAfter(this.#steps.length)
  }

  /** Returns the texts of all states that may be recovered if the process dies now. */
  get possible(): string[] {
    const texts: string[] = []
    for (let count = this.#promised; count <= this.#steps.length; count++) texts.push(textOf(this.#stateAfter(count)))
    return texts
  }

  #stateAfter(count: number): State {
    const state = new Map(this.found)
    for (const { key, slot, payload, replaces, isRejected } of this.#steps.slice(0, count)) {
      if (isRejected) continue
      if (slot === undefined || payload === undefined) state.delete(key)
      else state.set(key, new Map([...(replaces ? [] : (state.get(key) ?? [])), [slot, payload]]))
    }
    return state
  }
}
