/** A daemon, its disk, the network and the control plane, step by step. Every step may come at any time. */
import { ControlPlaneModel } from './control-plane-model.js'
import { type DaemonFlaws, DaemonModel, type Message, type Payload } from './daemon-model.js'
import { cutPower, type Disk, type JournalFlaws, JournalModel, type Mode } from './journal-model.js'
import { Ledger } from './ledger.js'

/** All flaws that a run can have. */
export type Flaws = DaemonFlaws & JournalFlaws

/** The system, with its first daemon running. */
export class SystemModel {
  readonly ledger = new Ledger()
  readonly controlPlane = new ControlPlaneModel()
  readonly #disk: Disk<Payload> = { segments: [] }
  readonly #mode: Mode
  readonly #flaws: Flaws
  /** messages that may still arrive */
  #network: Message[] = []
  /** messages whose senders wait for a response */
  #waiting: Message[] = []
  #instances = 0
  #daemon: DaemonModel

  constructor(mode: Mode, flaws: Flaws) {
    this.#mode = mode
    this.#flaws = flaws
    this.#daemon = this.#start()
  }

  #start(): DaemonModel {
    const journal = new JournalModel(this.#disk, this.#mode, this.#flaws)
    const send = (message: Message) => {
      this.#network.push(message)
      this.#waiting.push(message)
    }
    return new DaemonModel(this.#instances++, journal, this.ledger, send, this.#flaws)
  }

  /** Lets the daemon do something. */
  daemon(step: (daemon: DaemonModel) => void): void {
    step(this.#daemon)
  }

  /** Brings a message to the control plane. It may arrive once more later, and its response may be lost. */
  deliver(pick: number, { again, unanswered }: { again: boolean; unanswered: boolean }): void {
    const message = picked(this.#network, pick)
    if (!message) return
    if (!again) this.#network = this.#network.filter(other => other !== message)
    const outcomes = message.records.map(record => this.controlPlane.record(record, message.instance))
    if (message.gone.length > 0) this.controlPlane.endAbandoned(message.gone)
    if (!unanswered) this.#reply(message, outcomes)
  }

  /** Loses a message, as with its connection. */
  lose(pick: number): void {
    const message = picked(this.#network, pick)
    this.#network = this.#network.filter(other => other !== message)
  }

  /** Lets the sender of a message give up waiting. The message may arrive all the same. */
  timeOut(pick: number): void {
    const message = picked(this.#waiting, pick)
    if (message) this.#reply(message, undefined)
  }

  #reply(message: Message, outcomes: Parameters<Message['reply']>[0]): void {
    const waits = this.#waiting.includes(message)
    this.#waiting = this.#waiting.filter(other => other !== message)
    if (waits && this.#daemon.instance === message.instance) message.reply(outcomes)
  }

  /** Kills the daemon in a write of which so many frames were whole, and starts the next one. */
  kill(frames: number): void {
    this.#daemon.journal.kill(frames)
    this.#daemon = this.#start()
  }

  cutPower(frames: number, mask: number): void {
    this.#daemon.journal.kill(frames)
    for (const { key, slot } of cutPower(this.#disk, mask)) {
      // With `always` nothing was done that relied on these frames.
      if (this.#mode !== 'always' && slot !== undefined) this.ledger.excuse(key)
    }
    this.#daemon = this.#start()
  }

  /** Lets everything under way come to its end without further faults, also after one more start. */
  settle(): void {
    this.#settle()
    this.kill(0)
    this.#settle()
    this.controlPlane.endAbandoned()
  }

  #settle(): void {
    // Each round takes a batch; the bound keeps a flawed system from running for ever.
    for (let round = 0; round < 200; round++) {
      this.#daemon.finish(0)
      this.#daemon.journal.write()
      this.#daemon.declare()
      this.#daemon.sendBatch(10)
      const messages = this.#network.length
      // The newest first: those of dead processes come last.
      while (this.#network.length > 0) this.deliver(this.#network.length - 1, { again: false, unanswered: false })
      while (this.#waiting.length > 0) this.timeOut(0)
      if (messages === 0 && this.#daemon.queue.length === 0 && this.#daemon.work.size === 0) break
    }
  }

  /** Returns a sentence for each broken rule. */
  faults(): string[] {
    const live = [...this.#daemon.journal.live().keys()].filter(key => !key.startsWith('instance:'))
    return [...this.ledger.faults(this.controlPlane), ...live.map(key => `${key} is in the journal for ever`)]
  }
}

function picked<T>(list: readonly T[], pick: number): T | undefined {
  return list[pick % Math.max(1, list.length)]
}
