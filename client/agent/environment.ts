/** Variables that keep programs from asking, paging and painting: nobody sits in front of them. */
const nonInteractive: Readonly<Record<string, string>> = {
  GIT_EDITOR: 'true',
  GIT_SEQUENCE_EDITOR: 'true',
  EDITOR: 'true',
  VISUAL: 'true',
  GIT_TERMINAL_PROMPT: '0',
  NO_COLOR: '1',
  TERM: 'dumb',
  PAGER: 'cat',
  GIT_PAGER: 'cat',
}

/** The variable that names the scope of a command. */
export const scopeVariable = 'AIBRIDGE_SCOPE'

/**
 * Returns the environment of a command: the agent's own without `BRIDGE_*`, which hold the settings and secrets of this
 * service; then the variables of programs without a terminal; then those of the request; then the scope.
 */
export function commandEnvironment(
  own: NodeJS.ProcessEnv,
  requested: Readonly<Record<string, string>> | undefined,
  scope: string | undefined,
): NodeJS.ProcessEnv {
  const inherited = Object.entries(own).filter(([name]) => !name.startsWith('BRIDGE_') && name !== scopeVariable)
  const environment = { ...Object.fromEntries(inherited), ...nonInteractive, ...requested }
  return scope === undefined ? environment : { ...environment, [scopeVariable]: scope }
}
