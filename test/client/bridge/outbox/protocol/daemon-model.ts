/** A daemon as far as its records are concerned: one process, from its start to its death. */
import type { ModelRecord, Outcome } from './control-plane-model.js'
import type { JournalModel } from './journal-model.js'
import type { Ledger } from './ledger.js'

/** The payload of an entry: what is known of an interception, or the records that are its last word. */
export type Payload = { tokens: number } | { records: ModelRecord[] }

/** The ways in which a daemon could use its journal wrongly. */
export interface DaemonFlaws {
  /** the last byte is forwarded while the records are being appended */
  forwardsBeforeAppend?: boolean
  /** records are sent while they are being appended */
  sendsBeforeAppend?: boolean
  /** each time that a record is sent, it gets a new id */
  idsAtSending?: boolean
  /** a key is removed when its records are sent */
  removesBeforeAck?: boolean
  /** what is made of a dead process's facts is sent without being appended */
  replaysWithoutEntry?: boolean
  /** an interception without final records is left as it is */
  leavesFacts?: boolean
}

/** A call on its way: records, or instances that are gone. */
export interface Message {
  instance: number
  records: ModelRecord[]
  gone: number[]
  /** takes the outcomes; without outcomes the call failed, and may have run */
  reply(outcomes: Outcome[] | undefined): void
}

interface Work {
  id: string
  interception: ModelRecord
  state: 'beginning' | 'open' | 'ending'
  /** the control plane has the interception */
  recorded: boolean
  started: boolean
  tokens: number
}

interface Delivery {
  id: string
  record: ModelRecord
  /** the last record of its interception */
  last: boolean
}

/** One daemon process. */
export class DaemonModel {
  readonly work = new Map<string, Work>()
  readonly queue: Delivery[] = []
  #sending = false
  #declaring = false
  #sent = 0

  /** @param send puts a message on its way */
  constructor(
    readonly instance: number,
    readonly journal: JournalModel<Payload>,
    readonly ledger: Ledger,
    readonly send: (message: Message) => void,
    readonly flaws: DaemonFlaws,
  ) {
    this.predecessors = new Set()
    for (const [key, slots] of journal.live()) {
      if (key.startsWith('instance:')) this.predecessors.add(Number(key.slice('instance:'.length)))
      else this.#replay(key, slots)
    }
    this.#append(`instance:${instance}`, 'alive', { tokens: 0 })
  }

  /** instances that used the journal before and are not declared gone yet */
  readonly predecessors: Set<number>

  #replay(id: string, slots: ReadonlyMap<string, Payload>): void {
    const final = slots.get('finished')
    if (final && 'records' in final) return this.#deliver(id, final.records)
    if (this.flaws.leavesFacts) return
    const facts = slots.get('progress') ?? { tokens: 0 }
    const tokens = 'tokens' in facts ? facts.tokens : 0
    // The text differs with each replay, as a time would.
    const end = `unknown, says instance ${this.instance}`
    const records = [this.ledger.interception(id), ...this.ledger.children(id, tokens), this.ledger.end(id, end)]
    if (this.flaws.replaysWithoutEntry) this.#deliver(id, records)
    else this.#append(id, 'finished', { records }, () => this.#deliver(id, records))
  }

  /** Appends until the disk takes it. */
  #append(key: string, slot: string, payload: Payload, written?: () => void): void {
    const frame = { key, slot, payload, replaces: slot === 'finished' }
    this.journal.put(frame, ok => (ok ? written?.() : this.#append(key, slot, payload, written)))
  }

  begin(acceptable: boolean): void {
    const id = this.ledger.begin(acceptable)
    const interception = this.ledger.interception(id)
    const work: Work = { id, interception, state: 'beginning', recorded: false, started: false, tokens: 0 }
    this.work.set(id, work)
    this.journal.put({ key: id, slot: 'start', payload: { tokens: 0 } }, ok => {
      work.started = ok
      if (!ok) this.#fail(work)
      this.#open(work)
    })
    const reply = (outcomes: Outcome[] | undefined) => {
      const outcome = outcomes?.[0]
      if (outcome === 'ok') work.recorded = true
      if (outcome === 'BAD_REQUEST') {
        this.work.delete(id)
        this.journal.remove(id)
      } else if (outcome !== 'ok') this.#fail(work)
      this.#open(work)
    }
    this.send({ instance: this.instance, records: [interception], gone: [], reply })
  }

  #open(work: Work): void {
    if (work.state === 'beginning' && work.started && work.recorded) work.state = 'open'
  }

  /** Ends an interception whose provider is never called. */
  #fail(work: Work): void {
    if (work.state === 'beginning') this.#end(work, [this.ledger.end(work.id, 'not begun')])
  }

  /** The provider said more. */
  progress(pick: number): void {
    const work = this.#picked(pick)
    if (!work) return
    this.ledger.provided(work.id, ++work.tokens)
    this.journal.put({ key: work.id, slot: 'progress', payload: { tokens: work.tokens } }, () => {})
  }

  /** The provider said its last. */
  finish(pick: number): void {
    const work = this.#picked(pick)
    if (!work) return
    this.ledger.provided(work.id, ++work.tokens)
    const records = [...this.ledger.children(work.id, work.tokens), this.ledger.end(work.id, 'finished')]
    this.ledger.final(work.id, records)
    this.#end(work, records)
  }

  #picked(pick: number): Work | undefined {
    const open = [...this.work.values()].filter(({ state }) => state === 'open')
    return open[pick % Math.max(1, open.length)]
  }

  #end(work: Work, ending: ModelRecord[]): void {
    const { id } = work
    const records = work.recorded ? ending : [work.interception, ...ending]
    work.state = 'ending'
    if (this.flaws.forwardsBeforeAppend) this.ledger.forwarded(id)
    if (this.flaws.sendsBeforeAppend) this.#deliver(id, records)
    this.journal.put({ key: id, slot: 'finished', payload: { records }, replaces: true }, ok => {
      if (ok) this.ledger.forwarded(id)
      else this.ledger.excuse(id)
      if (!this.flaws.sendsBeforeAppend) this.#deliver(id, records)
    })
  }

  #deliver(id: string, records: readonly ModelRecord[]): void {
    for (const [index, record] of records.entries()) {
      this.queue.push({ id, record, last: index === records.length - 1 })
    }
  }

  /** Sends the next batch, unless one is under way. */
  sendBatch(count: number): void {
    const batch = this.queue.slice(0, count)
    if (this.#sending || batch.length === 0) return
    this.#sending = true
    if (this.flaws.removesBeforeAck) for (const { id, last } of batch) if (last) this.journal.remove(id)
    const records = batch.map(({ record }) =>
      this.flaws.idsAtSending && record.kind === 'child'
        ? { ...record, id: `${record.id}#${this.instance}.${this.#sent++}` }
        : record,
    )
    for (const record of records) this.ledger.sent(record)
    const reply = (outcomes: Outcome[] | undefined) => {
      this.#sending = false
      if (!outcomes) return
      this.queue.splice(0, batch.length)
      for (const [index, { id, record, last }] of batch.entries()) {
        const outcome = outcomes[index]
        if (outcome && outcome !== 'ok') this.ledger.rejected(record, outcome)
        if (!last) continue
        // The client of an interception that was replayed is gone.
        if (this.work.delete(id)) this.ledger.forwarded(id)
        this.journal.remove(id)
      }
    }
    this.send({ instance: this.instance, records, gone: [], reply })
  }

  /** Declares the processes before this one gone. */
  declare(): void {
    const gone = [...this.predecessors]
    if (this.#declaring || gone.length === 0) return
    this.#declaring = true
    const reply = (outcomes: Outcome[] | undefined) => {
      this.#declaring = false
      if (!outcomes) return
      for (const instance of gone) {
        this.predecessors.delete(instance)
        this.journal.remove(`instance:${instance}`)
      }
    }
    this.send({ instance: this.instance, records: [], gone, reply })
  }
}
