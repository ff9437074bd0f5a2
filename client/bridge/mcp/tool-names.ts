/** Names of injected tools, as models see them. */
import { hash } from 'node:crypto'
import { type InjectedTool, injectedPrefix } from './injected-tool.js'

/** APIs take up to 64 characters of `[A-Za-z0-9_-]`. */
const maxLength = 64
/** Digits of a hash in a name; more digits follow if the name is taken all the same. */
const hashLengths = [8, 16, 32]

/** A tool without its name. */
export type UnnamedTool = Omit<InjectedTool, 'fullName'>

/**
 * Names tools `bmcp_<server>_<tool>` and sorts them by that name. Other characters become `_`, long names are cut, and
 * names that would occur twice get a hash. A name depends on the tool and on the tools that it collides with, never on
 * their order. Of several tools with one name on one server the first stays.
 * @param taken names that the client uses; a tool of such a name gets a hash
 */
export function namedTools(tools: readonly UnnamedTool[], taken: ReadonlySet<string> = new Set()): InjectedTool[] {
  const unique = new Map<string, UnnamedTool>()
  for (const tool of tools) {
    const key = identityOf(tool)
    if (!unique.has(key)) unique.set(key, tool)
  }
  const counts = new Map<string, number>()
  const exact = new Set<string>()
  for (const tool of unique.values()) {
    const plain = plainName(tool)
    counts.set(plain, (counts.get(plain) ?? 0) + 1)
    if (plain === wishedName(tool)) exact.add(plain)
  }
  const isFree = (name: string) => !counts.has(name) && !taken.has(name)
  const named = new Map<string, InjectedTool>()
  // In one order, so that even two equal hashes end the same way.
  const inOrder = [...unique].sort(([one], [other]) => (one < other ? -1 : 1))
  for (const [identity, tool] of inOrder) {
    const plain = plainName(tool)
    const isOwner = plain === wishedName(tool) ? exact.has(plain) : counts.get(plain) === 1 && !exact.has(plain)
    const fullName =
      isOwner && !taken.has(plain)
        ? plain
        : hashLengths.map(length => withHash(plain, identity, length)).find(name => isFree(name) && !named.has(name))
    if (fullName === undefined) continue
    // A tool may have a name already.
    const { bareName, serverId, serverUrl, description, inputSchema } = tool
    named.set(fullName, { fullName, bareName, serverId, serverUrl, description, inputSchema })
  }
  return [...named.values()].sort((one, other) => (one.fullName < other.fullName ? -1 : 1))
}

function identityOf({ serverId, bareName }: UnnamedTool): string {
  return `${serverId} ${bareName}`
}

/** Two tools never wish the same name: a server's id has no `_`. */
function wishedName({ serverId, bareName }: UnnamedTool): string {
  return `${injectedPrefix}${serverId}_${bareName}`
}

/** The wished name in allowed characters; a long one carries a hash in any case. */
function plainName(tool: UnnamedTool): string {
  const name = wishedName(tool).replace(/[^A-Za-z0-9_-]/gu, '_')
  return name.length <= maxLength ? name : withHash(name, identityOf(tool), hashLengths[0] ?? 0)
}

function withHash(name: string, identity: string, length: number): string {
  const digits = hash('sha256', identity, 'hex').slice(0, length)
  return `${name.slice(0, maxLength - length - 1)}_${digits}`
}
