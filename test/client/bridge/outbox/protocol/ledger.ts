/** The accounts that a run is judged by: what the provider said, what the client saw, what daemons sent. */
import { type ControlPlaneModel, type ModelRecord, type Outcome, unacceptable } from './control-plane-model.js'

interface Account {
  acceptable: boolean
  /** tokens after each thing that the provider said */
  tokens: Set<string>
  final: ModelRecord[] | undefined
  /** the client has the last byte */
  forwarded: boolean
  /** entries were lost in a way that the journal does not promise to survive */
  excused: boolean
  /** every text with which an end was sent */
  ends: Set<string>
  rejections: { record: ModelRecord; outcome: Outcome }[]
}

/** The accounts of one run, and the records that daemons make of them. */
export class Ledger {
  readonly accounts = new Map<string, Account>()

  begin(acceptable: boolean): string {
    const id = `i${this.accounts.size}`
    const account = { acceptable, final: undefined, forwarded: false, excused: false, rejections: [] }
    this.accounts.set(id, { ...account, tokens: new Set(['0']), ends: new Set() })
    return id
  }

  interception(id: string): ModelRecord {
    const content = this.#of(id).acceptable ? 'model' : unacceptable
    return { kind: 'interception', id, interceptionId: id, content }
  }

  children(id: string, tokens: number): ModelRecord[] {
    return [
      { kind: 'child', id: `${id}/prompt`, interceptionId: id, content: 'prompt' },
      { kind: 'child', id: `${id}/tokens`, interceptionId: id, content: String(tokens) },
    ]
  }

  end(id: string, content: string): ModelRecord {
    return { kind: 'end', id, interceptionId: id, content }
  }

  provided(id: string, tokens: number): void {
    this.#of(id).tokens.add(String(tokens))
  }

  final(id: string, records: ModelRecord[]): void {
    this.#of(id).final = records
  }

  forwarded(id: string): void {
    const account = this.#of(id)
    account.forwarded = account.final !== undefined
  }

  excuse(id: string): void {
    const account = this.accounts.get(id)
    if (account) account.excused = true
  }

  sent(record: ModelRecord): void {
    if (record.kind === 'end') this.#of(record.id).ends.add(record.content)
  }

  rejected(record: ModelRecord, outcome: Outcome): void {
    this.#of(record.interceptionId).rejections.push({ record, outcome })
  }

  #of(id: string): Account {
    const account = this.accounts.get(id)
    if (!account) throw new Error(`${id} never began`)
    return account
  }

  /** Returns a sentence for each rule that the control plane's rows break. */
  faults({ rows }: ControlPlaneModel): string[] {
    const faults: string[] = []
    for (const id of rows.keys()) if (!this.accounts.has(id)) faults.push(`${id} is invented`)
    for (const [id, { acceptable, tokens, final, forwarded, excused, ends, rejections }] of this.accounts) {
      const row = rows.get(id)
      const children = new Map(final?.filter(({ kind }) => kind === 'child').map(record => [record.id, record.content]))
      if (forwarded && !excused) {
        if (!row) faults.push(`${id} was forwarded and is not recorded`)
        for (const [child, content] of children) {
          if (row?.children.get(child) !== content)
            faults.push(`${child} is ${row?.children.get(child)}, not ${content}`)
        }
        if (row?.end?.content !== 'finished') faults.push(`${id} was forwarded and ended with ${row?.end?.content}`)
      }
      if (row && !row.end) faults.push(`${id} never ended`)
      for (const [child, content] of row?.children ?? []) {
        const known = child === `${id}/prompt` ? content === 'prompt' : child === `${id}/tokens` && tokens.has(content)
        if (!known) faults.push(`${child} with ${content} is twice or invented`)
      }
      if (ends.size > 1 && !excused) faults.push(`${id} was ended with ${[...ends].join(' and ')}`)
      for (const { record, outcome } of rejections) {
        // A replay may have fewer tokens than the final record that its entry was lost with.
        const outdated = excused && outcome === 'CONFLICT' && record.id === `${id}/tokens`
        if (acceptable && !outdated) faults.push(`${record.id} was rejected: ${outcome}`)
      }
    }
    return faults
  }
}
