import type { Interception } from '../../../../shared/contract/admin/interceptions.js'
import { Link } from '../../navigation/link.js'
import { Time } from '../../parts/values.js'
import { errorLabel } from './outcome.js'

/** A request and those that continue it. */
export interface ThreadNode {
  row: Interception
  children: ThreadNode[]
}

/** Returns the requests of a thread as trees. A request whose parent is not in the list is a root. */
export function threadTrees(thread: readonly Interception[]): ThreadNode[] {
  const nodes = new Map(thread.map(row => [row.id, { row, children: [] } as ThreadNode])) // children follow below
  const roots: ThreadNode[] = []
  for (const node of nodes.values()) {
    const parent = node.row.parentId === null ? undefined : nodes.get(node.row.parentId)
    if (parent && parent !== node) parent.children.push(node)
    else roots.push(node)
  }
  return roots
}

/** The thread of a request. A chain without branches stays flat. */
export function ThreadTree({ thread, current }: { thread: readonly Interception[]; current: string }) {
  return (
    <ul className="tree">
      {threadTrees(thread).map(node => (
        <Node key={node.row.id} node={node} current={current} />
      ))}
    </ul>
  )
}

/** An only child stands below its parent, not beside it: a conversation of a hundred turns has no hundred indents. */
function Node({ node, current }: { node: ThreadNode; current: string }) {
  const chain: ThreadNode[] = [node]
  for (let last = node; last.children.length === 1; ) {
    const [only] = last.children
    if (!only) break
    chain.push(only)
    last = only
  }
  const branches = chain.at(-1)?.children ?? []
  return (
    <>
      {chain.map(({ row }) => (
        <li key={row.id}>
          <Leaf row={row} isCurrent={row.id === current} />
        </li>
      ))}
      {branches.length > 0 && (
        <li>
          <ul>
            {branches.map(child => (
              <Node key={child.row.id} node={child} current={current} />
            ))}
          </ul>
        </li>
      )}
    </>
  )
}

function Leaf({ row, isCurrent }: { row: Interception; isCurrent: boolean }) {
  const state = row.errorType ? 'bad' : row.endedAt ? 'ok' : 'open'
  const word = row.errorType ? errorLabel(row.errorType) : row.endedAt ? 'done' : 'running'
  return (
    <Link className="tree-link" href={`/interceptions/${row.id}`} aria-current={isCurrent ? 'true' : undefined}>
      <span className={`tree-dot tree-dot-${state}`} />
      <span className="cut">
        {row.model}
        <span className="visually-hidden"> {word}</span>
      </span>
      <span className="dim">
        <Time value={row.startedAt} />
      </span>
    </Link>
  )
}
