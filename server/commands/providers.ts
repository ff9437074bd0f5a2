/** `aibridge providers`: the AI providers that the bridge forwards to, and their keys. */
import { type Command, Option } from 'commander'
import type { ProviderSummary, ProviderWarning } from '../../shared/contract/admin/providers.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { type ProviderType, providerTypes } from '../../shared/contract/provider-configurator.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { invocation } from '../process/invocation.js'
import { type Column, print, printFields, printResult, printTable, printWarning } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { wholeNumberOrDefault } from './common/option-values.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

/** `default` stands for the server's setting. */
type Limit = number | 'default'

interface AddOptions extends CommonOptions {
  type?: ProviderType
  baseUrl?: string
  key?: string[]
  keyEnv?: string
  disabled?: boolean
  firstByteTimeoutMs?: Limit
  idleTimeoutMs?: Limit
  maxBodyBytes?: Limit
  includeUsage?: 'auto' | 'never' | 'default'
}

/** Adds `providers add|test|list|enable|disable|remove`. */
export function addProvidersCommands(program: Command): void {
  const providers = program.command('providers').description('AI providers, and the keys that the bridge shows them')

  withCommonOptions(
    providers
      .command('add <name>')
      .description(
        'add a provider at /bridge/NAME, or change the one of this name, which keeps what is left out: type, base URL, keys, limits, whether it is disabled',
      ),
  )
    .addOption(new Option('--type <type>', 'the API that it speaks; a new one: anthropic').choices(providerTypes))
    .option('--base-url <url>', "a new one: the type's own, for instance https://api.anthropic.com")
    .option('--key <key>', 'may be repeated; "-" reads it from stdin, since other users can see arguments', append)
    .option('--key-env <variable>', 'the environment variable that holds the key')
    .option('--disabled', 'reject its requests until it is enabled')
    .option(
      '--first-byte-timeout-ms <ms>',
      "how long it may take until it begins to respond, 0: for ever; default: the server's setting",
      wholeNumberOrDefault,
    )
    .option(
      '--idle-timeout-ms <ms>',
      "how long it may be silent inside a response, 0: for ever; default: the server's setting",
      wholeNumberOrDefault,
    )
    .option(
      '--max-body-bytes <bytes>',
      "largest body of a request; default: the server's setting",
      wholeNumberOrDefault,
    )
    .addOption(
      new Option(
        '--include-usage <when>',
        'ask for the usage of streams of Chat Completions whose client does not: auto (unless it rejects that), never',
      ).choices(['auto', 'never', 'default']),
    )
    .action(async (name: string, { type, baseUrl, key, keyEnv, disabled, ...others }: AddOptions) => {
      const { firstByteTimeoutMs, idleTimeoutMs, maxBodyBytes, includeUsage, ...options } = others
      const values = Object.entries({ firstByteTimeoutMs, idleTimeoutMs, maxBodyBytes, includeUsage })
      const given = values.filter(([, value]) => value !== undefined)
      const settings = Object.fromEntries(given.map(([name, value]) => [name, value === 'default' ? null : value]))
      const keys = await readKeys(key ?? [], keyEnv)
      const provider = await callAdmin(options, admin =>
        admin.providers.upsert.mutate({
          name,
          ...(type !== undefined && { type }),
          ...(disabled && { enabled: false }),
          ...(baseUrl !== undefined && { baseUrl }),
          ...(keys.length > 0 && { keys }),
          ...(given.length > 0 && { settings }),
        }),
      )
      const mountPath = await mountPathOf(provider.type)
      printResult(options, provider, () =>
        printFields({
          provider: provider.name,
          type: provider.type,
          'base URL': provider.baseUrl,
          keys: provider.keys.join(', '),
          enabled: provider.enabled,
          limits: limitsText(provider.settings),
          ...(provider.settings.includeUsage === 'never' && { usage: 'not asked for' }),
          'clients use': `/bridge/${provider.name}${mountPath}, behind the address of the server or of a daemon`,
        }),
      )
      for (const warning of provider.warnings) printWarning(warningText(warning, provider, mountPath))
    })

  withCommonOptions(
    providers
      .command('test <name>')
      .description(
        'ask a provider for its models, from the machine of the server, and say what it saw; exits 1 on a failure',
      ),
  ).action(async (name: string, options: CommonOptions) => {
    const result = await callAdmin(options, admin => admin.providers.test.mutate({ name }))
    printResult(options, result, ({ url, key, status, models, durationMs }) =>
      printFields({ provider: name, asked: url, key: key ?? 'none', status, models, took: `${durationMs} ms` }),
    )
    if (!result.ok) throw rpcError('provider_failed', `provider ${name}: ${result.message}`)
  })

  withCommonOptions(providers.command('list').description('all providers, their keys masked')).action(
    async (options: CommonOptions) => {
      const list = await callAdmin(options, admin => admin.providers.list.query())
      printResult(options, list, () => printTable(list, columns, 'no providers yet; add one with: providers add NAME'))
    },
  )

  withCommonOptions(providers.command('enable <name>').description('forward its requests again')).action(
    async (name: string, options: CommonOptions) => {
      const provider = await callAdmin(options, admin => admin.providers.setEnabled.mutate({ name, enabled: true }))
      printResult(options, provider, () => print(`enabled provider ${provider.name}`))
    },
  )

  withCommonOptions(providers.command('disable <name>').description('reject its requests until it is enabled')).action(
    async (name: string, options: CommonOptions) => {
      const provider = await callAdmin(options, admin => admin.providers.setEnabled.mutate({ name, enabled: false }))
      printResult(options, provider, () => print(`disabled provider ${provider.name}`))
    },
  )

  withCommonOptions(providers.command('remove <name>').description('forget it and its keys; the records stay')).action(
    async (name: string, options: CommonOptions) => {
      await callAdmin(options, admin => admin.providers.remove.mutate({ name }))
      printResult(options, { name }, () => print(`removed provider ${name}`))
    },
  )
}

const columns: Column<ProviderSummary>[] = [
  ['NAME', provider => provider.name],
  ['TYPE', provider => provider.type],
  ['ENABLED', provider => (provider.enabled ? 'yes' : 'no')],
  ['BASE URL', provider => provider.baseUrl],
  ['KEYS', provider => provider.keys.join(', ')],
  ['LAST FAILURE', ({ lastFailure }) => lastFailure && `${lastFailure.at.toISOString()} ${lastFailure.errorType}`],
]

/** Names the limits that differ from the server's. */
function limitsText({ firstByteTimeoutMs, idleTimeoutMs, maxBodyBytes }: ProviderSummary['settings']): string {
  const limits = [
    { name: 'first byte within', value: firstByteTimeoutMs, unit: 'ms' },
    { name: 'silence of at most', value: idleTimeoutMs, unit: 'ms' },
    { name: 'bodies of at most', value: maxBodyBytes, unit: 'bytes' },
  ]
  const texts = limits.flatMap(({ name, value, unit }) =>
    value === null ? [] : [`${name} ${value === 0 ? 'any time' : `${value.toLocaleString('en')} ${unit}`}`],
  )
  return texts.length > 0 ? texts.join(', ') : "the server's"
}

/**
 * Returns the path between `/bridge/NAME` and the paths of a type's API. The APIs are loaded on this call, so `--help`
 * stays quick.
 */
async function mountPathOf(type: ProviderType): Promise<string> {
  const { apiOf } = await import('../../client/bridge/providers/apis.js')
  return apiOf(type)?.mountPath ?? ''
}

/** Warning → its sentence, with the URL that a request for the models would reach. */
const warningTexts: Record<ProviderWarning, (provider: ProviderSummary, mountPath: string) => string> = {
  no_key: ({ name }) =>
    `provider ${name} has no key, so requests are sent without one; add a key with: ${invocation()} providers add ${name} --key-env VARIABLE`,
  base_url_lacks_v1: ({ baseUrl, type }, mountPath) =>
    `the base URL ${baseUrl} lacks /v1, which APIs of type ${type} have at its end: ${exampleOf(baseUrl, mountPath)}`,
  base_url_doubles_v1: ({ baseUrl }, mountPath) =>
    `the base URL ${baseUrl} doubles /v1, which requests bring along: ${exampleOf(baseUrl, mountPath)}`,
  base_url_names_endpoint: ({ baseUrl }, mountPath) =>
    `the base URL ${baseUrl} ends with the path of one endpoint, which requests bring along: ${exampleOf(baseUrl, mountPath)}`,
}

/** Returns the sentence of a warning; the warning itself if only a newer server knows it. */
export function warningText(warning: string, provider: ProviderSummary, mountPath: string): string {
  const isKnown = Object.hasOwn(warningTexts, warning)
  return isKnown ? warningTexts[warning as ProviderWarning](provider, mountPath) : warning // checked on the line before
}

function exampleOf(baseUrl: string, mountPath: string): string {
  return `a request for /v1/models would reach ${baseUrl}${'/v1/models'.slice(mountPath.length)}`
}

function append(value: string, before: string[] = []): string[] {
  return [...before, value]
}

async function readKeys(given: string[], variable: string | undefined): Promise<string[]> {
  const keys: string[] = []
  for (const key of given) keys.push(key === '-' ? await readStdin() : key)
  if (variable !== undefined) keys.push(process.env[variable]?.trim() ?? '')
  if (keys.includes('')) {
    const isUnset = variable !== undefined && keys.at(-1) === ''
    const problem = isUnset ? `environment variable ${variable}: is not set, or empty` : '--key: is empty'
    throw new RpcError('BAD_REQUEST', problem, { reason: 'config_invalid' })
  }
  return keys
}

async function readStdin(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk
  return text.trim()
}
