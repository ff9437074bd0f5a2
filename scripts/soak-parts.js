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
  journal: ['test/client/bridge/outbox/protocol.test.ts', 'test/client/bridge/outbox/journal/journal-as-map.test.ts'],
  agents: [
    'test/client/agent/process-limits.process.test.ts',
    'test/client/agent/head-and-tail.test.ts',
    'test/e2e/agent-limits.test.ts',
  ],
  chats: ['test/soak/chats/chats.process.test.ts', 'test/soak/chats/judge.test.ts', 'test/soak/chats/sample.test.ts'],
  crash: [
    'test/soak/crash/crash.process.test.ts',
    'test/soak/crash/offences.test.ts',
    'test/soak/crash/replay.process.test.ts',
  ],
}

/** @type {Record<string, string[]>} */
const groups = { transport: Object.keys(parts).filter(name => !['agents', 'chats', 'crash', 'journal'].includes(name)) }

/**
 * Options on the command line and the variables that carry them to the tests.
 *
 * @type {Record<string, string>}
 */
const options = {
  '--kills': 'SOAK_KILLS',
  '--seed': 'SOAK_SEED',
  '--mode': 'SOAK_MODE',
}

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

/**
 * Returns the variables of options such as `--kills 500`.
 * @param {readonly string[]} words
 * @throws Error for an unknown option, or one without a value
 */
export function variablesOf(words) {
  /** @type {Record<string, string>} */
  const variables = {}
  for (let index = 0; index < words.length; index += 2) {
    const [option = '', value] = words.slice(index, index + 2)
    const variable = Object.hasOwn(options, option) ? options[option] : undefined
    if (variable === undefined)
      throw new Error(`no option is named ${option}; the options are ${Object.keys(options).join(', ')}`)
    if (value === undefined) throw new Error(`${option} lacks a value`)
    variables[variable] = value
  }
  return variables
}
