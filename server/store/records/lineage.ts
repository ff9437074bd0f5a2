/**
 * Links interceptions to their continuations.
 *
 * The *link* of an interception leads to another interception of the same initiator. The first of these that exists:
 *
 * 1. that of the newest tool usage with its `correlatingToolCallId`;
 * 2. that of the newest token usage, or else prompt, with its `previousMsgId`;
 * 3. the newest one that started before it with its `conversationId`.
 *
 * Parents and roots follow from the links alone, and the links from the records alone, so the order of arrival leaves
 * no trace:
 *
 * - parent: the link's target. Where links form a circle, the oldest interception on the circle (by `startedAt`, then
 *   id) has no parent.
 * - root: the parent's root, or else the parent.
 *
 * Links of the first two kinds are set when their interception is inserted (record-tables.ts), and again when a usage
 * is inserted: the later statement sees the earlier row. Links by conversation are set behind the insert, for the new
 * interception and for the one that follows it. All run under the lock of the initiator.
 */
import { CompiledQuery, type Kysely } from 'kysely'
import type { Database } from '../sql/schema.js'

/** Ids of newly stored records, by kind, that set the link of an interception (`InsertResult.links`). */
export interface NewRecords {
  /** interceptions of a conversation */
  interceptions: readonly string[]
  toolUsages: readonly string[]
  tokenUsages: readonly string[]
  prompts: readonly string[]
}

/**
 * Sets the links that newly stored records change, and the parents and roots of all interceptions below. Needs the
 * initiators' locks.
 */
export async function linkNewRecords(db: Kysely<Database>, records: NewRecords): Promise<void> {
  const { interceptions, toolUsages, tokenUsages, prompts } = records
  const ids = [toolUsages, tokenUsages, prompts, interceptions]
  if (ids.every(some => some.length === 0)) return
  const { rows: links } = await db.executeQuery<Link>(
    CompiledQuery.raw(
      linksStatement,
      ids.map(some => JSON.stringify(some)),
    ),
  )
  const changed = new Map(links.filter(link => link.newest !== link.linkedId).map(link => [link.id, link.newest]))
  if (changed.size === 0) return
  const { rows: nodes } = await db.executeQuery<Node>(
    CompiledQuery.raw(belowStatement, [JSON.stringify([...changed.keys()])]),
  )
  const below = new Map(
    nodes.map(node => [
      node.id,
      { ...node, link: changed.has(node.id) ? (changed.get(node.id) ?? null) : node.linkedId },
    ]),
  )
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

/** Returns SQL for the interceptions that the new rows of a table may link; parameter `at` holds the rows' ids. */
function linkedBy(at: number, table: string, key: string, column: string): string {
  return `
    select i.id from (
      select distinct u.initiator_id, u.${key} as key
      from json_array_elements_text($${at}::json) as r
      cross join lateral (select t.initiator_id, t.${key} from ${table} t where t.id = r.value::uuid offset 0) as u
    ) as c
    cross join lateral (
      select x.id from interceptions x where x.initiator_id = c.initiator_id and x.${column} = c.key offset 0
    ) as i`
}

/** The interceptions of the new rows, with those that follow them in their conversations. */
const linkedByConversation = `
  select i.id
  from json_array_elements_text($4::json) as r
  cross join lateral (select * from interceptions x where x.id = r.value::uuid offset 0) as c
  cross join lateral (
    select c.id
    union all
    (select x.id from interceptions x
      where x.initiator_id = c.initiator_id and x.conversation_id = c.conversation_id and (x.started_at, x.id) > (c.started_at, c.id)
      order by x.started_at, x.id limit 1)
  ) as i`

/**
 * Returns SQL for the interception that an interception continues, other than itself: the id of the first kind of link
 * that the rows of its usages give.
 * @param row name of the row with the interception's columns
 */
export function linkedByUsages(row: string): string {
  const newest = (table: string, key: string, column: string) => `(
    select t.interception_id from ${table} t
    where t.initiator_id = ${row}.initiator_id and t.${key} = ${row}.${column} and t.interception_id <> ${row}.id
    order by t.created_at desc, t.id desc limit 1
  )`
  return `coalesce(
    ${newest('tool_usages', 'tool_call_id', 'correlating_tool_call_id')},
    ${newest('token_usages', 'msg_id', 'previous_msg_id')},
    ${newest('user_prompts', 'msg_id', 'previous_msg_id')}
  )`
}

const linksStatement = `
  with touched as (
    ${linkedBy(1, 'tool_usages', 'tool_call_id', 'correlating_tool_call_id')}
    union ${linkedBy(2, 'token_usages', 'msg_id', 'previous_msg_id')}
    union ${linkedBy(3, 'user_prompts', 'msg_id', 'previous_msg_id')}
    union ${linkedByConversation}
  )
  select x.id, x.linked_id as "linkedId", coalesce(${linkedByUsages('x')}, (
    select i.id from interceptions i
    where i.initiator_id = x.initiator_id and i.conversation_id = x.conversation_id and (i.started_at, i.id) < (x.started_at, x.id)
    order by i.started_at desc, i.id desc limit 1
  )) as newest
  from touched
  cross join lateral (select * from interceptions i where i.id = touched.id offset 0) as x`

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
