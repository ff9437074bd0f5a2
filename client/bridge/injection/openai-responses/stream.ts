import { isPlainObject, type JsonObject, type JsonValue } from '../../../../shared/values/text.js'
import { parsed, textOf } from '../../providers/reading.js'
import type { EventFrame } from '../../wire/event-frames.js'
import { type ClientBytes, finalRound, type StreamRound, type Verdict } from '../round-bytes.js'
import { endRound } from './body.js'
import { functionNameOf } from './items.js'
import type { ResponsesResponse } from './response.js'

/** Events that begin a response. */
const beginnings: ReadonlySet<string> = new Set(['response.created', 'response.in_progress', 'response.queued'])
/** Events that end a response → whether its calls are whole. */
const ends: ReadonlyMap<string, boolean> = new Map([
  ['response.completed', true],
  ['response.done', true],
  ['response.incomplete', false],
  ['response.failed', false],
  ['response.cancelled', false],
])

/** An item whose events are received. */
interface OpenItem {
  isHidden: boolean
  /** place in the client's response */
  index: number
}

/**
 * Reads the streamed response of one round of Responses. Events pass as they came until something is hidden; later ones
 * get the numbers and places that follow in the client's response.
 */
export class ResponsesStreamRound implements StreamRound {
  readonly #response: ResponsesResponse
  readonly #out: ClientBytes
  readonly #itemsBefore: number
  /** place of the provider's → the newest item there; some proxies give every item the same place */
  readonly #open = new Map<unknown, OpenItem>()
  readonly #hiddenPlaces = new Set<number>()
  readonly #items: JsonObject[] = []
  /** the frames behind an item without a name, which shows only at its end whether the item is hidden */
  #queue: EventFrame[] | undefined
  #unnamedPlace: unknown
  #lateName = ''
  /** the end of the client's response, if it waits for results */
  #held: string | undefined
  #verdict: Verdict | undefined

  constructor(response: ResponsesResponse, out: ClientBytes) {
    this.#response = response
    this.#out = out
    this.#itemsBefore = response.shownItems
  }

  frame(frame: EventFrame): void {
    const { event, bytes } = frame
    if (!event) this.#out.write(bytes)
    else if (this.#verdict) this.#late(bytes)
    else {
      const json = parsed(event.data)
      if (!isPlainObject(json)) {
        if (this.#response.rounds.length === 0 || event.event === 'error') this.#out.write(bytes)
        return
      }
      const own = textOf(json.type) ?? (event.event || (json.error ? 'error' : ''))
      const type = event.event === 'error' ? 'error' : own
      if (this.#waitsForName(frame, json, type)) return
      this.#event(json as JsonObject, type, frame) // came out of JSON.parse
    }
  }

  end(): Verdict {
    this.#replay('')
    if (!this.#verdict) {
      // The stream broke off: the client sees as much as there was.
      this.#response.ended({ items: [], results: [], isStored: false }, undefined)
      this.#verdict = finalRound
    }
    if (this.#held !== undefined) this.#out.write(this.#held)
    this.#held = undefined
    return this.#verdict
  }

  /** Takes events behind the end. */
  #late(bytes: Buffer): void {
    if (this.#verdict === finalRound) this.#out.write(bytes)
  }

  #event(json: JsonObject, type: string, frame: EventFrame): void {
    if (beginnings.has(type)) this.#begin(json, frame)
    else if (type === 'response.output_item.added') this.#added(json, frame)
    else if (ends.has(type)) this.#ended(json, ends.get(type) === true, frame)
    else if (type === 'error') this.#fail(json, frame)
    else {
      if (type === 'response.output_item.done' && isPlainObject(json.item)) this.#items.push(json.item as JsonObject) // as above
      const item = this.#itemOf(json)
      if (item?.isHidden) this.#response.changed()
      else this.#write(json, frame, item)
    }
  }

  #begin(json: JsonObject, frame: EventFrame): void {
    if (isPlainObject(json.response)) this.#response.head(json.response as JsonObject) // as above
    if (this.#response.rounds.length === 0) this.#write(json, frame)
  }

  #added(json: JsonObject, frame: EventFrame): void {
    const name = isPlainObject(json.item) ? functionNameOf(json.item) : undefined
    const isHidden = name !== undefined && this.#response.names.has(name || this.#lateName)
    const item = this.#openItem(json, isHidden)
    if (isHidden) this.#response.changed()
    else this.#write(json, frame, item)
  }

  #openItem(json: JsonObject, isHidden: boolean): OpenItem {
    const place = placeOf(json)
    const own = typeof json.output_index === 'number' ? json.output_index : 0
    if (isHidden) this.#hiddenPlaces.add(own)
    const hiddenBefore = [...this.#hiddenPlaces].filter(hidden => hidden < own).length
    const item = { isHidden, index: this.#itemsBefore + own - hiddenBefore }
    this.#open.set(place, item)
    return item
  }

  /** Returns the item of an event; undefined for an event of the whole response. */
  #itemOf(json: JsonObject): OpenItem | undefined {
    const place = placeOf(json)
    if (place === undefined) return undefined
    const known = this.#open.get(place)
    if (known) return known
    const name = isPlainObject(json.item) ? functionNameOf(json.item) : undefined
    return this.#openItem(json, name !== undefined && this.#response.names.has(name))
  }

  #ended(json: JsonObject, isWhole: boolean, frame: EventFrame): void {
    const snapshot = isPlainObject(json.response) ? (json.response as JsonObject) : {} // as above
    const { verdict, isChanged } = endRound(this.#response, snapshot, !isWhole, this.#items)
    this.#verdict = verdict
    if (!verdict.isFinal) return
    const bytes = isChanged ? this.#renumbered(json, frame) : frame.bytes
    if (verdict.calls.length > 0) this.#held = bytes.toString()
    else this.#out.end(bytes)
  }

  #fail(json: JsonObject, frame: EventFrame): void {
    const { isChanged } = this.#response
    this.#response.ended({ items: [], results: [], isStored: false }, undefined)
    this.#verdict = finalRound
    this.#out.end(isChanged ? this.#renumbered(json, frame) : frame.bytes)
  }

  #write(json: JsonObject, frame: EventFrame, item?: OpenItem): void {
    const isMoved = item !== undefined && typeof json.output_index === 'number' && json.output_index !== item.index
    if (item && isMoved) json.output_index = item.index
    if (this.#response.isChanged || isMoved) this.#out.write(this.#renumbered(json, frame))
    else {
      if (typeof json.sequence_number === 'number') this.#response.numberOf(json.sequence_number)
      this.#out.write(frame.bytes)
    }
  }

  #renumbered(json: JsonObject, { event }: EventFrame): string {
    if (typeof json.sequence_number === 'number') json.sequence_number = this.#response.numberOf(json.sequence_number)
    return eventOf(json, event?.event)
  }

  /** Queues events behind a call without a name, until the name is received. */
  #waitsForName(frame: EventFrame, json: Record<string, unknown>, type: string): boolean {
    if (!this.#queue) {
      const isUnnamed =
        type === 'response.output_item.added' && isPlainObject(json.item) && functionNameOf(json.item) === ''
      if (!isUnnamed || this.#lateName !== '') return false
      this.#queue = []
      this.#unnamedPlace = placeOf(json)
    }
    this.#queue.push(frame)
    const source = isPlainObject(json.item) ? json.item : json
    const name = placeOf(json) === this.#unnamedPlace ? textOf(source.name) : undefined
    if (name !== undefined || ends.has(type) || type === 'error') this.#replay(name ?? '')
    return true
  }

  #replay(name: string): void {
    const queue = this.#queue ?? []
    this.#queue = undefined
    this.#lateName = name || ' '
    for (const [index, frame] of queue.entries()) {
      this.frame(frame)
      if (index === 0) this.#lateName = ''
    }
    this.#lateName = ''
  }
}

function placeOf(json: Record<string, unknown>): unknown {
  return json.output_index ?? json.item_id
}

/** Returns the bytes of an event. */
function eventOf(json: JsonValue, event = ''): string {
  return `${event === '' ? '' : `event: ${event}\n`}data: ${JSON.stringify(json)}\n\n`
}
