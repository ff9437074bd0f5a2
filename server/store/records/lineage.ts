/**
 * Links interceptions to their continuations.
 *
 * The *link* of an interception leads to the interception of the newest tool usage of the same initiator with its
 * `correlatingToolCallId`, other than its own. Parents and roots follow from the links alone, and the links from the
 * records alone, so the order of arrival leaves no trace:
 *
 * - parent: the link's target. Where links form a circle, the oldest interception on the circle (by `startedAt`, then
 *   id) has no parent.
 * - root: the parent's root, or else the parent.
 *
 * A link is set when its interception is inserted (record-tables.ts), and again when a tool usage is inserted: the
 * later statement sees the earlier row. Both run under the lock of the initiator.
 */
import { CompiledQuery, type Kysely } from 'kysely'
import type { Database } from '../sql/schema.js'

/**
 * Sets the links that lead to newly stored tool usages, and the parents and roots of all interceptions below. Needs the
 * initiators' locks.
 */
export async function linkToolUsages(db: Kysely<Database>, toolUsageIds: readonly string[]): Promise<void> {
  const { rows: links } = await db.executeQuery<Link>(CompiledQuery.raw(linksStatement, [JSON.stringify(toolUsageIds)]))
  const changed = new Map(links.filter(link => link.newest !== link.linkedId).map(link => [link.id, link.newest]))
  if (changed.size === 0) return
  const { rows: nodes } = await db.executeQuery<Node>(
    CompiledQuery.raw(belowStatement, [JSON.stringify([...changed.keys()])]),
  )
  const below = new Map(nodes.map(node => [node.id, { ...node, link: changed.get(node.id) ?? node.linkedId }]))
  const outside = [...below.values()].flatMap(({ link }) => (link !== null && !below.has(link) ? [link] : []))
  const { rows: tops } = await db.executeQuery<Top>(CompiledQuery.raw(topsStatement, [JSON.stringify(outside)]))
  const moved = settleLineage(below, new Map(tops.map(top => [top.id, top.rootId ?? top.id])))
  await db.executeQuery(CompiledQuery.raw(moveStatement, [JSON.stringify(moved)]))
}

interface Link {
  id: string
  linkedId: string | null
  newest: string | null
}
interface Node {
  id: string
  startedAt: Date
  linkedId: string | null
}
interface Top {
  id: string
  rootId: string | null
}
interface Lineage {
  id: string
  linked_id: string | null
  parent_id: string | null
  root_id: string | null
}

const linksStatement = `
  select x.id, x.linked_id as "linkedId", (
    select t.interception_id from tool_usages t
    where t.initiator_id = x.initiator_id and t.tool_call_id = x.correlating_tool_call_id and t.interception_id <> x.id
    order by t.created_at desc, t.id desc limit 1
  ) as newest
  from (
    select distinct u.initiator_id, u.tool_call_id
    from json_array_elements_text($1::json) as r
    cross join lateral (select t.initiator_id, t.tool_call_id from tool_usages t where t.id = r.value::uuid offset 0) as u
  ) as c
  cross join lateral (
    select i.id, i.initiator_id, i.linked_id, i.correlating_tool_call_id from interceptions i
    where i.initiator_id = c.initiator_id and i.correlating_tool_call_id = c.tool_call_id offset 0
  ) as x`

/**
 * Selects the given interceptions and all their continuations. UNION visits each interception once, also on a circle.
 */
const belowStatement = `
  with recursive below as (
    select value::uuid as id from json_array_elements_text($1::json)
    union
    select x.id from below b cross join lateral (select i.id from interceptions i where i.linked_id = b.id offset 0) as x
  )
  select i.id, i.started_at as "startedAt", i.linked_id as "linkedId"
  from below b cross join lateral (select * from interceptions x where x.id = b.id offset 0) as i`

const topsStatement = `
  select r.value::uuid as id, (select i.root_id from interceptions i where i.id = r.value::uuid) as "rootId"
  from json_array_elements_text($1::json) as r`

const moveStatement = `
  update interceptions i set linked_id = r.linked_id, parent_id = r.parent_id, root_id = r.root_id
  from json_to_recordset($1::json) as r(id uuid, linked_id uuid, parent_id uuid, root_id uuid)
  where i.id = r.id and i.id = any(array(select (value->>'id')::uuid from json_array_elements($1::json)))
    and (i.linked_id, i.parent_id, i.root_id) is distinct from (r.linked_id, r.parent_id, r.root_id)`

/**
 * Computes parents and roots of interceptions from their links. `roots` has the root of each interception outside the
 * set that a link leads to. Each chain is walked once and without recursion: a conversation may have thousands of
 * links.
 */
function settleLineage(
  nodes: ReadonlyMap<string, Node & { link: string | null }>,
  roots: ReadonlyMap<string, string>,
): Lineage[] {
  const settled = new Map<string, Lineage>()
  for (const start of nodes.values()) {
    const path = new Map<string, Node & { link: string | null }>()
    let node: (Node & { link: string | null }) | undefined = start
    while (node && !settled.has(node.id) && !path.has(node.id)) {
      path.set(node.id, node)
      node = node.link === null ? undefined : nodes.get(node.link)
    }
    const chain = [...path.values()]
    if (node && path.has(node.id)) {
      const circle = chain.slice(chain.indexOf(node))
      const oldest = circle.reduce((a, b) => (isOlder(b, a) ? b : a))
      settled.set(oldest.id, { id: oldest.id, linked_id: oldest.link, parent_id: null, root_id: null })
      // From the oldest backwards, so that each parent is settled before its continuations.
      const first = circle.indexOf(oldest)
      chain.splice(chain.length - circle.length, circle.length, ...circle.slice(first + 1), ...circle.slice(0, first))
    }
    for (const { id, link } of chain.reverse()) {
      const root = link === null ? null : (settled.get(link)?.root_id ?? roots.get(link) ?? link)
      settled.set(id, { id, linked_id: link, parent_id: link, root_id: root })
    }
  }
  return [...settled.values()]
}

function isOlder(a: Node, b: Node): boolean {
  return a.startedAt.getTime() === b.startedAt.getTime() ? a.id < b.id : a.startedAt < b.startedAt
}
