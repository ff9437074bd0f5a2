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
 * A link is set when its interception is inserted, from the records that are stored by then. {@link changedLinks} finds
 * the interceptions whose links other new records change, which is rare: a record arrives before the records that
 * continue it. {@link linkInterceptions} then sets their links.
 *
 * Of two transactions that write the two sides of a link at the same time, neither would see the other's record. So an
 * interception that continues another is inserted under an exclusive lock of its initiator, and all other records under
 * a shared one (initiator-locks.ts): whichever transaction is second sees the first.
 */
import { CompiledQuery, type Kysely } from 'kysely'
import type { Statement } from '../sql/pipeline.js'
import type { Database } from '../sql/schema.js'

/** A key of a record by which an interception may continue it, with the record's interception. */
export interface LinkKey {
  interceptionId: string
  key: string
}

/** The keys of new records by which interceptions may continue them. */
export interface LinkKeys {
  /** ids of tool calls */
  calls: readonly LinkKey[]
  /** ids of responses */
  messages: readonly LinkKey[]
  /** ids of interceptions of a conversation */
  conversations: readonly string[]
}

/** Returns the interceptions that have a key, or the records of one. */
export function interceptionsOf({ calls, messages, conversations }: LinkKeys): string[] {
  return [...new Set([...calls, ...messages].map(({ interceptionId }) => interceptionId).concat(conversations))]
}

/**
 * Returns the statement whose rows are the interceptions whose links the records with these keys change; undefined if
 * there are no keys.
 */
export function changedLinks(keys: LinkKeys): Statement | undefined {
  const parts = linkKinds.filter(kind => keys[kind].length > 0)
  if (parts.length === 0) return undefined
  return { sql: changedLinksStatement(parts), parameters: parts.map(kind => JSON.stringify(keys[kind])) }
}

/**
 * Sets the links that records with these keys change, and the parents and roots of all interceptions below. Needs the
 * exclusive locks of the initiators.
 */
export async function linkInterceptions(db: Kysely<Database>, keys: LinkKeys): Promise<void> {
  const statement = changedLinks(keys)
  if (!statement) return
  const { rows: links } = await db.executeQuery<Link>(CompiledQuery.raw(statement.sql, [...statement.parameters]))
  if (links.length === 0) return
  const changed = new Map(links.map(link => [link.id, link.newest]))
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

const linkKinds = ['calls', 'messages', 'conversations'] as const

/** Returns SQL for the interceptions that continue a record with one of the keys in a parameter. */
function continuing(column: string): (parameter: string) => string {
  return parameter => `
    select i.id from json_to_recordset(${parameter}::json) as r("interceptionId" uuid, key text)
    cross join lateral (select x.initiator_id from interceptions x where x.id = r."interceptionId" offset 0) as u
    cross join lateral (
      select x.id from interceptions x where x.initiator_id = u.initiator_id and x.${column} = r.key offset 0
    ) as i`
}

/** Kind of key → SQL for the interceptions whose links may change. */
const touched: Readonly<Record<keyof LinkKeys, (parameter: string) => string>> = {
  calls: continuing('correlating_tool_call_id'),
  messages: continuing('previous_msg_id'),
  // The new interceptions, with those that follow them.
  conversations: parameter => `
    select i.id from json_array_elements_text(${parameter}::json) as r
    cross join lateral (select * from interceptions x where x.id = r.value::uuid offset 0) as c
    cross join lateral (
      select c.id
      union all
      (select x.id from interceptions x
        where x.initiator_id = c.initiator_id and x.conversation_id = c.conversation_id and (x.started_at, x.id) > (c.started_at, c.id)
        order by x.started_at, x.id limit 1)
    ) as i`,
}

function changedLinksStatement(kinds: readonly (keyof LinkKeys)[]): string {
  return `
    select x.id, x.newest from (${kinds.map((kind, index) => touched[kind](`$${index + 1}`)).join(' union ')}) as t
    cross join lateral (
      select i.id, i.linked_id, ${linkedBefore('i')} as newest from interceptions i where i.id = t.id offset 0
    ) as x
    where x.linked_id is distinct from x.newest`
}

/**
 * Returns SQL for the id of the interception that an interception continues, other than itself: by the first kind of
 * link that the stored records give.
 * @param row name of the row with the interception's columns
 */
export function linkedBefore(row: string): string {
  const newest = (table: string, key: string, column: string) => `(
    select t.interception_id from ${table} t
    where t.initiator_id = ${row}.initiator_id and t.${key} = ${row}.${column} and t.interception_id <> ${row}.id
    order by t.created_at desc, t.id desc limit 1
  )`
  return `coalesce(
    ${newest('tool_usages', 'tool_call_id', 'correlating_tool_call_id')},
    ${newest('token_usages', 'msg_id', 'previous_msg_id')},
    ${newest('user_prompts', 'msg_id', 'previous_msg_id')},
    (
      select c.id from interceptions c
      where c.initiator_id = ${row}.initiator_id and c.conversation_id = ${row}.conversation_id
        and (c.started_at, c.id) < (${row}.started_at, ${row}.id)
      order by c.started_at desc, c.id desc limit 1
    )
  )`
}

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
