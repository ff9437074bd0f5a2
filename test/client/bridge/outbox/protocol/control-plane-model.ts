/** The control plane as the contract describes it: idempotent by id, comparing content. */

/** A record, with all that is compared of it as one text. */
export interface ModelRecord {
  kind: 'interception' | 'child' | 'end'
  id: string
  interceptionId: string
  content: string
}

export type Outcome = 'ok' | 'NOT_FOUND' | 'CONFLICT' | 'BAD_REQUEST'

interface Row {
  content: string
  instance: number
  children: Map<string, string>
  end?: { content: string; by: 'daemon' | 'control_plane' }
}

/** The rows of the control plane. */
export class ControlPlaneModel {
  readonly rows = new Map<string, Row>()

  record({ kind, id, interceptionId, content }: ModelRecord, instance: number): Outcome {
    if (content.includes(unacceptable)) return 'BAD_REQUEST'
    const row = this.rows.get(interceptionId)
    if (kind === 'interception') {
      if (!row) this.rows.set(id, { content, instance, children: new Map() })
      return !row || row.content === content ? 'ok' : 'CONFLICT'
    }
    if (!row) return 'NOT_FOUND'
    if (kind === 'end') {
      if (row.end?.by !== 'daemon') row.end = { content, by: 'daemon' }
      return 'ok'
    }
    const known = row.children.get(id)
    row.children.set(id, known ?? content)
    return known === undefined || known === content ? 'ok' : 'CONFLICT'
  }

  /** Ends what instances left open; without a list, what anyone left. */
  endAbandoned(instances?: readonly number[]): void {
    for (const row of this.rows.values()) {
      if (!instances || instances.includes(row.instance)) row.end ??= { content: 'abandoned', by: 'control_plane' }
    }
  }
}

/** Content that the control plane rejects for good. */
export const unacceptable = 'unacceptable'
