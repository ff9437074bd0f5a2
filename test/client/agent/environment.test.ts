import { expect, test } from 'vitest'
import { commandEnvironment } from '../../../client/agent/environment.js'

const nonInteractive = {
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

test.each<
  [
    name: string,
    own: NodeJS.ProcessEnv,
    requested: Record<string, string> | undefined,
    scope: string | undefined,
    expected: object,
  ]
>([
  ['the agent’s own variables are inherited', { PATH: '/bin', A: '' }, undefined, undefined, { PATH: '/bin', A: '' }],
  [
    'secrets and settings of this service are not',
    { BRIDGE_AGENT_KEY: 's', BRIDGE_URL: 'u' },
    undefined,
    undefined,
    {},
  ],
  ['the variables of terminals are replaced', { TERM: 'xterm', EDITOR: 'vi' }, undefined, undefined, {}],
  ['a request goes before both', { A: 'own' }, { A: 'a', TERM: 'xterm' }, undefined, { A: 'a', TERM: 'xterm' }],
  ['a scope goes before everything', {}, { AIBRIDGE_SCOPE: 'a' }, 's', { AIBRIDGE_SCOPE: 's' }],
  ['the scope of an outer agent is not inherited', { AIBRIDGE_SCOPE: 'outer' }, undefined, undefined, {}],
])('%s', (_name, own, requested, scope, expected) => {
  expect(commandEnvironment(own, requested, scope)).toEqual({ ...nonInteractive, ...expected })
})
