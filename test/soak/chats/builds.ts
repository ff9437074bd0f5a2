/** Copies of the built program: with short leases, so that a round takes seconds, and with flaws. */
import { type ChangedBuild, changedBuild, type LineChange } from '../crash/planted-build.js'
import type { OffenceKind } from './offence.js'

/** A lease in copies with short ones; ten times shorter than by default, as are all other times of leases. */
export const shortLeaseMs = 3_000

const limits = 'shared/contract/limits.js'
const shortTimes: readonly LineChange[] = [
  { file: limits, line: /leaseMs: 30_?000/g, replacement: `leaseMs: ${shortLeaseMs}` },
  { file: limits, line: /renewMs: 10_?000/g, replacement: 'renewMs: 1000' },
  { file: limits, line: /(maxRunning: 16,[\s\S]*?)pollMs: 5_?000/g, replacement: '$1pollMs: 500' },
  { file: limits, line: /retryMinMs: 1_?000/g, replacement: 'retryMinMs: 100' },
]

/** A flaw that the judge must find. */
export interface ChatFlaw {
  changes: readonly LineChange[]
  found: readonly OffenceKind[]
}

/** The flaws by name. */
export const chatFlaws: Readonly<Record<string, ChatFlaw>> = {
  /** A run commits whatever runner and fence the chat has by then. */
  'no-fence': {
    changes: [
      {
        file: 'server/services/chats/run-changes.js',
        line: /row\.runner !== run\.runner \|\| row\.fence !== run\.fence/g,
        replacement: 'false',
      },
    ],
    found: ['twice', 'history', 'truncated', 'unended', 'unseen'],
  },
  /** A renewal that was sent before an acquisition ends the newer run. Slow renewals make such cases frequent. */
  'old-renewal': {
    changes: [
      {
        file: 'server/services/chats/runner/chat-runner.js',
        line: /(const byId = new Map\(rows\.map)/g,
        replacement: 'await new Promise(resolve => setTimeout(resolve, 900));\n$1',
      },
      {
        file: 'server/services/chats/runner/chat-runner.js',
        line: /for \(const \{ id, fence \} of sent\)/g,
        replacement: 'for (const { id, fence } of this.#running.values())',
      },
    ],
    found: ['repeated', 'unended', 'stuck'],
  },
}

/** Copies the program with short times. @throws Error if a line is not there exactly once */
export function buildWithShortTimes(flaw?: string): Promise<ChangedBuild> {
  const planted = flaw === undefined ? undefined : chatFlaws[flaw]
  if (flaw !== undefined && !planted) throw new Error(`no flaw is named ${flaw}`)
  return changedBuild([...shortTimes, ...(planted?.changes ?? [])])
}
