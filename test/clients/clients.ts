/** The clients under test: settings that lead to the bridge, a command without a person, and the expected record. */
import type { PackageName } from './versions.js'

/** The folders, addresses and secrets of one client's run. */
export interface Place {
  /** folder with the client's packages */
  packages: string
  /** the client's home, empty before its files are written */
  home: string
  /** working directory with the note */
  project: string
  /** the bridge's address, without a slash at its end */
  url: string
  /** key of the bridge */
  key: string
  prompt: string
  /** a new UUID, for clients that take a session from outside */
  sessionId: string
}

export interface Client {
  name: string
  packages: readonly PackageName[]
  provider: 'anthropic' | 'openai'
  /** the recorded client; null if the bridge knows no such client, as with SDKs */
  recordedAs: string | null
  /**
   * Returns the session that the client itself reports; `none` if clients of this kind have no sessions.
   * @param stdout all output of the client
   */
  session: ((stdout: string, place: Place) => string | undefined) | 'none'
  credentialKind?: 'byok'
  /** files below the home, by path */
  files?(place: Place): Record<string, string>
  env(place: Place): Record<string, string>
  command(place: Place): string[]
}

const claude = {
  packages: ['@anthropic-ai/claude-code'],
  provider: 'anthropic',
  recordedAs: 'Claude Code',
  session: (_stdout, { sessionId }) => sessionId,
  command: ({ packages, prompt, sessionId }) => [
    `${packages}/node_modules/.bin/claude`,
    ...['--print', prompt, '--session-id', sessionId, '--model', 'claude-sonnet-5'],
    ...['--allowedTools', 'Bash(cat:*)', 'Read'],
  ],
} as const satisfies Partial<Client>

/** https://code.claude.com/docs/en/env-vars */
const claudeQuiet = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  DISABLE_AUTOUPDATER: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_TELEMETRY: '1',
}

const codex = {
  packages: ['@openai/codex', 'node'],
  provider: 'openai',
  recordedAs: 'Codex',
  session: stdout => /"thread_id":"([^"]+)"/.exec(stdout)?.[1],
  command: ({ packages, project, prompt }) => [
    `${packages}/node_modules/.bin/codex`,
    ...['exec', '--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'],
    ...['--cd', project, '--model', 'gpt-5.5', prompt],
  ],
} as const satisfies Partial<Client>

const codexQuiet = 'check_for_update_on_startup = false\nanalytics.enabled = false\nfeedback.enabled = false\n'

const opencode = {
  packages: ['opencode-ai'],
  recordedAs: 'OpenCode',
  session: stdout => /"sessionID":"([^"]+)"/.exec(stdout)?.[1],
} as const satisfies Partial<Client>

const opencodeQuiet = {
  OPENCODE_DISABLE_AUTOUPDATE: '1',
  OPENCODE_DISABLE_MODELS_FETCH: '1',
  OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
  OPENCODE_DISABLE_SHARE: '1',
}

/** https://opencode.ai/docs/providers */
function opencodeWith(model: string, provider: object): Pick<Client, 'files' | 'env' | 'command'> {
  const [id = '', name = ''] = model.split('/')
  const config = {
    $schema: 'https://opencode.ai/config.json',
    autoupdate: false,
    share: 'disabled',
    provider: { [id]: { ...provider, models: { [name]: {} } } },
  }
  return {
    files: ({ url }) => ({
      '.config/opencode/opencode.json': JSON.stringify(config).replaceAll('BASE', url),
    }),
    env: ({ key }) => ({ ...opencodeQuiet, AIBRIDGE_KEY: key }),
    command: ({ packages, prompt }) => [
      `${packages}/node_modules/.bin/opencode`,
      ...['run', '--format', 'json', '--model', model],
      // An argument with spaces reaches the model in quotation marks.
      ...prompt.split(' '),
    ],
  }
}

const aiSdk = (api: 'anthropic' | 'responses' | 'chat'): Omit<Client, 'name'> => ({
  packages: ['ai', '@ai-sdk/anthropic', '@ai-sdk/openai', 'zod', 'node'],
  provider: api === 'anthropic' ? 'anthropic' : 'openai',
  recordedAs: null,
  session: 'none',
  env: ({ url, key }) => ({ BRIDGE_URL: url, AIBRIDGE_KEY: key }),
  command: ({ packages, prompt }) => [
    `${packages}/node_modules/.bin/node`,
    `${packages}/ai-sdk-program.mjs`,
    ...[api, prompt],
  ],
})

export const clients: readonly Client[] = [
  {
    name: 'Claude Code, API key',
    ...claude,
    env: ({ url, key }) => ({
      ...claudeQuiet,
      ANTHROPIC_BASE_URL: `${url}/bridge/anthropic`,
      ANTHROPIC_AUTH_TOKEN: key,
    }),
  },
  {
    name: 'Claude Code, own key',
    ...claude,
    credentialKind: 'byok',
    env: ({ url, key }) => ({
      ...claudeQuiet,
      ANTHROPIC_BASE_URL: `${url}/bridge/anthropic`,
      ANTHROPIC_API_KEY: 'sk-ant-api03-the-users-own-key',
      ANTHROPIC_CUSTOM_HEADERS: `X-Bridge-Token: ${key}`,
    }),
  },
  {
    name: 'Codex, custom provider',
    ...codex,
    files: ({ url }) => ({
      '.codex/config.toml': `${codexQuiet}model_provider = "aibridge"

[model_providers.aibridge]
name = "aibridge"
base_url = "${url}/bridge/openai/v1"
env_key = "AIBRIDGE_KEY"
wire_api = "responses"
`,
    }),
    env: ({ key }) => ({ AIBRIDGE_KEY: key }),
  },
  {
    name: 'Codex, built-in provider',
    ...codex,
    files: ({ url }) => ({ '.codex/config.toml': `${codexQuiet}openai_base_url = "${url}/bridge/openai/v1"\n` }),
    env: ({ key }) => ({ CODEX_API_KEY: key }),
  },
  {
    name: 'OpenCode, Anthropic',
    ...opencode,
    provider: 'anthropic',
    ...opencodeWith('anthropic/claude-sonnet-5', {
      options: { baseURL: 'BASE/bridge/anthropic/v1', apiKey: '{env:AIBRIDGE_KEY}' },
    }),
  },
  {
    name: 'OpenCode, Responses',
    ...opencode,
    provider: 'openai',
    ...opencodeWith('openai/gpt-5.5', {
      options: { baseURL: 'BASE/bridge/openai/v1', apiKey: '{env:AIBRIDGE_KEY}' },
    }),
  },
  {
    name: 'OpenCode, Chat',
    ...opencode,
    provider: 'openai',
    ...opencodeWith('aibridge/gpt-5.5', {
      npm: '@ai-sdk/openai-compatible',
      name: 'aibridge',
      options: { baseURL: 'BASE/bridge/openai/v1', apiKey: '{env:AIBRIDGE_KEY}' },
    }),
  },
  { name: 'AI SDK, Anthropic', ...aiSdk('anthropic') },
  { name: 'AI SDK, Responses', ...aiSdk('responses') },
  { name: 'AI SDK, Chat', ...aiSdk('chat') },
]
