/** The calls of a response of Chat Completions, whose parts not every provider labels well. */
import { isPlainObject } from '../../../../shared/values/text.js'
import { jsonTextOf, textOf } from '../reading.js'
import { ObjectEnd } from './object-end.js'

/** A call, or a part of one. Absent fields are empty. */
export interface Selection {
  callId: string
  tool: string
  input: string
}

/** Returns the selection of a function (`arguments`, JSON) or of a custom tool (`input`, free text). */
export function selectionOf(call: Record<string, unknown>): Selection {
  const selected = isPlainObject(call.function) ? call.function : isPlainObject(call.custom) ? call.custom : {}
  const input = selected.arguments ?? selected.input ?? ''
  return {
    callId: textOf(call.id) ?? '',
    tool: textOf(selected.name) ?? '',
    input: typeof input === 'string' ? input : jsonTextOf(input),
  }
}

/** A call that grows with a stream. */
export class GrowingCall {
  callId = ''
  tool = ''
  readonly #end = new ObjectEnd()

  /** Takes the next part of the call. */
  append({ callId, tool, input }: Selection): void {
    this.callId ||= callId
    this.tool ||= tool
    this.#end.append(input)
  }

  /**
   * Returns whether a selection belongs to this open call. Some providers give all calls the same place and no id: then
   * a name behind a whole input begins another call.
   */
  continues(next: Selection): boolean {
    if (next.tool === '') return true
    if (this.tool !== '' && this.tool !== next.tool) return false
    if (this.tool === '') return this.callId === '' || next.callId === ''
    return next.callId === '' && !this.#end.reached
  }
}

/** The calls of one response, in the order in which they begin. */
export class GrowingCalls<Call extends GrowingCall> {
  readonly all: Call[] = []
  readonly #create: () => Call
  readonly #byId = new Map<string, Call>()
  /** the newest call at each place of the response */
  readonly #open = new Map<string, Call>()

  /** @param create makes an empty call */
  constructor(create: () => Call) {
    this.#create = create
  }

  /** Adds a whole call. Returns undefined for a call without any content. */
  add(selection: Selection): Call | undefined {
    return this.#append(selection, undefined)
  }

  /**
   * Adds a part of a call, or a whole one, of a stream. Returns the call; undefined for a new call without any content.
   * @param choice index of the choice
   * @param place place of the call in the choice
   */
  addPart(choice: unknown, place: unknown, part: Record<string, unknown>): Call | undefined {
    const selection = selectionOf(part)
    const slot = `${choice} ${place}`
    const open = this.#open.get(slot)
    // Some providers give all calls of a function the same id; the index, if there is one, keeps the calls apart.
    const idIn = (id: string) => `${choice} ${part.index} ${id}`
    const known = selection.callId === '' ? undefined : this.#byId.get(idIn(selection.callId))
    const call = this.#append(selection, known ?? (open?.continues(selection) ? open : undefined))
    if (!call) return undefined
    if (call.callId !== '') this.#byId.set(idIn(call.callId), call)
    this.#open.set(slot, call)
    return call
  }

  #append(selection: Selection, known: Call | undefined): Call | undefined {
    const { callId, tool, input } = selection
    if (!known && callId === '' && tool === '' && input === '') return undefined
    const call = known ?? this.#create()
    if (!known) this.all.push(call)
    call.append(selection)
    return call
  }
}
