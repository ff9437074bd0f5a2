import { expect, test } from 'vitest'
import { type FirstStart, firstSteps } from '../../../server/process/first-steps.js'

const start: FirstStart = {
  url: 'http://127.0.0.1:4200',
  dataDir: '/var/lib/a b',
  seeded: [],
  isTokenInEnvironment: false,
}

/** The commands of a first start. */
const commandsOf = (changes: Partial<FirstStart>) =>
  firstSteps({ ...start, ...changes })
    .split('\n')
    .filter(line => line.startsWith('    '))

test('a first start adds Anthropic and leads every command to the server', () => {
  const commands = commandsOf({})
  expect(commands).toContainEqual(expect.stringContaining('providers add anthropic'))
  expect(commandsOf({ seeded: ['openai'] })).toEqual(commands)
  for (const command of commands) expect(command).toMatch(/--data '\/var\/lib\/a b' --port 4200|127\.0\.0\.1:4200/)
  expect(firstSteps(start)).not.toContain('BRIDGE_ADMIN_TOKEN')
})

test('a provider that the environment has made is used, not added', () => {
  const text = firstSteps({ ...start, seeded: ['anthropic', 'openai'] })
  expect(text).not.toContain('providers add')
  expect(text).toContain('Point Claude Code at the provider "anthropic", which has the key of ANTHROPIC_API_KEY.')
  expect(text).toContain("new OpenAI({ baseURL: 'http://127.0.0.1:4200/bridge/openai/v1'")
  expect(commandsOf({ seeded: ['anthropic'] })).toContainEqual(expect.stringMatching(/ claude$/))
  expect(commandsOf({ seeded: ['openai'] })).toContainEqual(expect.stringContaining('providers add anthropic'))
})

test('a token of the environment is asked for in the other terminal', () => {
  expect(firstSteps({ ...start, isTokenInEnvironment: true })).toContain('with the same BRIDGE_ADMIN_TOKEN:\n')
})

test('a wildcard address is reached by the loopback one', () => {
  expect(firstSteps({ ...start, url: 'http://0.0.0.0:4200' })).toContain('aibridge ready at http://127.0.0.1:4200,')
})
