/** Further clients of docs/clients.md that the npm registry has; `--all` runs them. */
import type { Client, Place } from './clients.js'
import type { PackageName } from './versions.js'

/** Only requests in OpenAI's Responses API carry the session of Qwen Code and pi. */
const sessionOf = (api: string): Client['session'] =>
  api === 'openai-responses' ? (_stdout, { sessionId }) => sessionId : 'none'

const qwen = (authType: string, provider: Client['provider'], env: (place: Place) => Record<string, string>) =>
  ({
    packages: ['@qwen-code/qwen-code', 'node'],
    provider,
    recordedAs: 'Qwen Code',
    session: sessionOf(authType),
    files: () => ({
      '.qwen/settings.json': JSON.stringify({
        privacy: { usageStatisticsEnabled: false },
        telemetry: { enabled: false },
        general: { enableAutoUpdate: false, disableAutoUpdate: true },
      }),
    }),
    env,
    command: ({ packages, prompt, sessionId }) => [
      `${packages}/node_modules/.bin/qwen`,
      ...['--auth-type', authType, '--yolo', '--session-id', sessionId, prompt],
    ],
  }) satisfies Partial<Client>

const copilot = (env: (place: Place) => Record<string, string>) =>
  ({
    packages: ['@github/copilot', 'node'],
    recordedAs: 'GitHub Copilot (CLI)',
    session: 'none',
    env: place => ({ COPILOT_OFFLINE: 'true', COPILOT_AUTO_UPDATE: 'false', ...env(place) }),
    command: ({ packages, prompt }) => [
      `${packages}/node_modules/.bin/copilot`,
      ...['-p', prompt, '--allow-all-tools', '--no-color'],
    ],
  }) satisfies Partial<Client>

const pi = (api: string, model: string, mount: string) =>
  ({
    packages: ['@earendil-works/pi-coding-agent', 'node'],
    recordedAs: 'pi',
    session: sessionOf(api),
    files: ({ url }) => ({
      '.pi/agent/models.json': JSON.stringify({
        providers: { aibridge: { baseUrl: `${url}${mount}`, api, apiKey: '$AIBRIDGE_KEY', models: [{ id: model }] } },
      }),
    }),
    env: ({ key }) => ({ AIBRIDGE_KEY: key, PI_OFFLINE: '1', PI_TELEMETRY: '0' }),
    command: ({ packages, prompt, sessionId }) => [
      `${packages}/node_modules/.bin/pi`,
      ...['--print', '--provider', 'aibridge', '--model', model, '--session-id', sessionId, prompt],
    ],
  }) satisfies Partial<Client>

/** Requests of Cline's command line name the SDK, not Cline. */
const cline = (provider: string, model: string, mount: string) =>
  ({
    packages: ['cline', 'node'],
    recordedAs: null,
    session: 'none',
    env: () => ({ DO_NOT_TRACK: '1', CLINE_NO_AUTO_UPDATE: '1' }),
    command: ({ packages, url, key, prompt }) => [
      ...['sh', '-c', '"$1" auth -p "$2" -k "$3" -m "$4" -b "$5" && exec "$1" --json -P "$2" -m "$4" "$6"', 'sh'],
      ...[`${packages}/node_modules/.bin/cline`, provider, key, model, `${url}${mount}`, prompt],
    ],
  }) satisfies Partial<Client>

/** Requests of Continue's command line name an HTTP library, not Continue. */
const continueCli = (provider: string, model: string, mount: string) =>
  ({
    packages: ['@continuedev/cli', 'node'],
    recordedAs: null,
    session: 'none',
    files: ({ url, key }) => ({
      'config.yaml': `name: aibridge
version: 1.0.0
schema: v1
models:
  - name: aibridge
    provider: ${provider}
    model: ${model}
    apiBase: ${url}${mount}
    apiKey: ${key}
    roles: [chat]
    capabilities: [tool_use]
`,
    }),
    env: () => ({ CONTINUE_CLI_ENABLE_TELEMETRY: '0', CONTINUE_CLI_AUTO_UPDATED: '1' }),
    command: ({ packages, home, prompt }) => [
      `${packages}/node_modules/.bin/cn`,
      ...['--print', '--auto', '--config', `${home}/config.yaml`, prompt],
    ],
  }) satisfies Partial<Client>

const droid = (provider: string, model: string, mount: string) =>
  ({
    packages: ['droid', 'node'],
    recordedAs: 'droid',
    session: provider === 'openai' ? stdout => /"session_id":"([^"]+)"/.exec(stdout)?.[1] : 'none',
    files: ({ url }) => ({
      '.factory/settings.json': JSON.stringify({
        customModels: [
          // biome-ignore lint/suspicious/noTemplateCurlyInString: droid replaces the variable.
          { model, displayName: 'aibridge', baseUrl: `${url}${mount}`, apiKey: '${AIBRIDGE_KEY}', provider },
        ],
      }),
    }),
    env: ({ key }) => ({ AIBRIDGE_KEY: key, FACTORY_DROID_AUTO_UPDATE_ENABLED: 'false' }),
    command: ({ packages, prompt }) => [
      `${packages}/node_modules/.bin/droid`,
      ...['exec', '--output-format', 'json', '--model', 'custom:aibridge-0', prompt],
    ],
  }) satisfies Partial<Client>

/** A program of a library, from a file beside this one. */
const program = (file: string, api: string, packages: readonly PackageName[]): Omit<Client, 'name' | 'provider'> => ({
  packages,
  recordedAs: null,
  session: 'none',
  env: ({ url, key }) => ({
    BRIDGE_URL: url,
    AIBRIDGE_KEY: key,
    LANGCHAIN_TRACING_V2: 'false',
    MASTRA_TELEMETRY_DISABLED: '1',
    MASTRA_OFFLINE: '1',
  }),
  command: ({ packages, prompt }) => [`${packages}/node_modules/.bin/node`, `${packages}/${file}`, api, prompt],
})

const langchain = ['langchain', '@langchain/core', '@langchain/anthropic', '@langchain/openai', 'zod', 'node'] as const
const mastra = ['@mastra/core', '@ai-sdk/anthropic', 'zod', 'node'] as const

export const moreClients: readonly Client[] = [
  {
    name: 'Qwen Code, Anthropic',
    ...qwen('anthropic', 'anthropic', ({ url, key }) => ({
      ANTHROPIC_BASE_URL: `${url}/bridge/anthropic`,
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_MODEL: 'claude-sonnet-5',
    })),
  },
  {
    name: 'Qwen Code, Responses',
    ...qwen('openai-responses', 'openai', ({ url, key }) => ({
      OPENAI_BASE_URL: `${url}/bridge/openai/v1`,
      OPENAI_API_KEY: key,
      OPENAI_MODEL: 'gpt-5.5',
    })),
  },
  {
    name: 'Qwen Code, Chat',
    ...qwen('openai', 'openai', ({ url, key }) => ({
      OPENAI_BASE_URL: `${url}/bridge/openai/v1`,
      OPENAI_API_KEY: key,
      OPENAI_MODEL: 'gpt-5.5',
    })),
  },
  {
    name: 'Copilot CLI, Anthropic',
    provider: 'anthropic',
    ...copilot(({ url, key }) => ({
      COPILOT_PROVIDER_TYPE: 'anthropic',
      COPILOT_PROVIDER_BASE_URL: `${url}/bridge/anthropic`,
      COPILOT_PROVIDER_API_KEY: key,
      COPILOT_MODEL: 'claude-sonnet-5',
    })),
  },
  {
    name: 'Copilot CLI, Responses',
    provider: 'openai',
    ...copilot(({ url, key }) => ({
      COPILOT_PROVIDER_TYPE: 'openai',
      COPILOT_PROVIDER_WIRE_API: 'responses',
      COPILOT_PROVIDER_BASE_URL: `${url}/bridge/openai/v1`,
      COPILOT_PROVIDER_API_KEY: key,
      COPILOT_MODEL: 'gpt-5.5',
    })),
  },
  { name: 'pi, Anthropic', provider: 'anthropic', ...pi('anthropic-messages', 'claude-sonnet-5', '/bridge/anthropic') },
  { name: 'pi, Responses', provider: 'openai', ...pi('openai-responses', 'gpt-5.5', '/bridge/openai/v1') },
  {
    name: 'Kilo, Chat',
    packages: ['@kilocode/cli', 'node'],
    provider: 'openai',
    recordedAs: 'Kilo Code',
    session: stdout => /"sessionID":"([^"]+)"/.exec(stdout)?.[1],
    files: ({ url }) => ({
      '.config/kilo/kilo.json': JSON.stringify({
        autoupdate: false,
        share: 'disabled',
        experimental: { openTelemetry: false },
        provider: {
          aibridge: {
            npm: '@ai-sdk/openai-compatible',
            name: 'aibridge',
            options: { baseURL: `${url}/bridge/openai/v1`, apiKey: '{env:AIBRIDGE_KEY}' },
            models: { 'gpt-5.5': {} },
          },
        },
      }),
    }),
    env: ({ key }) => ({ AIBRIDGE_KEY: key, KILO_DISABLE_AUTOUPDATE: '1', KILO_DISABLE_MODELS_FETCH: '1' }),
    command: ({ packages, prompt }) => [
      `${packages}/node_modules/.bin/kilo`,
      ...['run', '--auto', '--format', 'json', '--model', 'aibridge/gpt-5.5'],
      ...prompt.split(' '),
    ],
  },
  { name: 'Cline, Chat', provider: 'openai', ...cline('openai', 'gpt-5.5', '/bridge/openai/v1') },
  {
    name: 'Continue, Anthropic',
    provider: 'anthropic',
    ...continueCli('anthropic', 'claude-sonnet-5', '/bridge/anthropic/v1/'),
  },
  { name: 'Continue, OpenAI', provider: 'openai', ...continueCli('openai', 'gpt-5.5', '/bridge/openai/v1/') },
  { name: 'droid, Anthropic', provider: 'anthropic', ...droid('anthropic', 'claude-sonnet-5', '/bridge/anthropic') },
  { name: 'droid, Responses', provider: 'openai', ...droid('openai', 'gpt-5.5', '/bridge/openai/v1') },
  { name: 'LangChain, Anthropic', provider: 'anthropic', ...program('langchain-program.mjs', 'anthropic', langchain) },
  { name: 'LangChain, Responses', provider: 'openai', ...program('langchain-program.mjs', 'responses', langchain) },
  { name: 'LangChain, Chat', provider: 'openai', ...program('langchain-program.mjs', 'chat', langchain) },
  { name: 'Mastra, Anthropic', provider: 'anthropic', ...program('mastra-program.mjs', 'anthropic', mastra) },
  { name: 'Mastra, Chat', provider: 'openai', ...program('mastra-program.mjs', 'chat', mastra) },
]
