/**
 * Test files with long runs, by part. `npm test` runs a small sample of each.
 *
 * @type {Record<string, string[]>}
 */
export const parts = {
  chaos: ['test/server/rpc/chaos.test.ts'],
  fuzz: [
    'test/server/rpc/fuzz.test.ts',
    'test/server/rpc/nesting.test.ts',
    'test/shared/rpc/json/annotated-json.test.ts',
    'test/soak/transport/lying-clients.test.ts',
    'test/soak/transport/lying-servers.test.ts',
  ],
  sockets: [
    'test/soak/transport/lying-peers-over-tcp.test.ts',
    'test/soak/transport/half-open.test.ts',
    'test/soak/transport/drops.test.ts',
  ],
  stops: ['test/e2e/stops.test.ts'],
  floods: ['test/e2e/floods.test.ts'],
  heap: ['test/soak/transport/heap.test.ts'],
}

/** @type {Record<string, string[]>} */
const groups = { transport: Object.keys(parts) }

/**
 * Returns the files of parts and groups of parts, by default of all.
 * @param {readonly string[]} asked
 * @throws Error for an unknown name
 */
export function filesOf(asked) {
  const all = { ...groups, ...Object.fromEntries(Object.keys(parts).map(name => [name, [name]])) }
  const unknown = asked.filter(name => !Object.hasOwn(all, name))
  if (unknown.length > 0)
    throw new Error(`no part is named ${unknown.join(', ')}; the parts are ${Object.keys(all).join(', ')}`)
  const names = asked.length === 0 ? Object.keys(parts) : asked.flatMap(name => all[name] ?? [])
  return [...new Set(names)].flatMap(name => parts[name] ?? [])
}
