/** `aibridge providers`: the AI providers that the bridge forwards to, and their keys. */
import { type Command, Option } from 'commander'
import type { ProviderSummary, ProviderWarning } from '../../shared/contract/admin/providers.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { type ProviderType, providerTypes } from '../../shared/contract/provider-configurator.js'
import { invocation } from '../process/invocation.js'
import { type Column, print, printFields, printResult, printTable, printWarning } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { wholeNumberOrDefault } from './common/option-values.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'
import { append, keyEnvHelp, keyHelp, keyText, readKeys, withKeysCommands } from './provider-keys.js'

/** `default` stands for the server's setting. */
type Limit = number | 'default'

interface AddOptions extends CommonOptions {
  type?: ProviderType
  baseUrl?: string
  key?: string[]
  keyEnv?: string[]
  disabled?: boolean
  firstByteTimeoutMs?: Limit
  idleTimeoutMs?: Limit
  maxBodyBytes?: Limit
  includeUsage?: 'auto' | 'never' | 'default'
  fallbackUrl?: string[]
  maxParallelRequests?: Limit
  noToolsFor?: string[]
  priceList?: string
}

/** Adds `providers add|test|list|enable|disable|remove` and `providers keys`. */
export function addProvidersCommands(program: Command): void {
  const providers = program.command('providers').description('AI providers, and the keys that the bridge shows them')

  withCommonOptions(
    providers
      .command('add <name>')
      .description(
        'add a provider at /bridge/NAME, or change the one of this name, which keeps what is left out: type, base URL, keys, limits, whether it is disabled; keys that are given replace all its keys, the first is preferred',
      ),
  )
    .addOption(new Option('--type <type>', 'the API that it speaks; a new one: anthropic').choices(providerTypes))
    .option('--base-url <url>', "a new one: the type's own, for instance https://api.anthropic.com")
    .option('--key <key>', keyHelp, append)
    .option('--key-env <variable>', keyEnvHelp, append)
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
    .option(
      '--fallback-url <url>',
      'another base URL of the same API, for when no connection to the one before is made; may be repeated; none: none',
      append,
    )
    .option(
      '--max-parallel-requests <count>',
      'its requests under way at once, in each daemon; further ones wait up to 5 s; default: any number',
      wholeNumberOrDefault,
    )
    .addOption(noToolsForOption())
    .option(
      '--price-list <list>',
      'the list with the prices of its models; none: they are unpriced; default: that of the host of its base URL',
    )
    .addOption(
      new Option(
        '--include-usage <when>',
        'ask for the usage of streams of Chat Completions whose client does not: auto (unless it rejects that), never',
      ).choices(['auto', 'never', 'default']),
    )
    .action(async (name: string, { type, baseUrl, key, keyEnv, disabled, ...others }: AddOptions) => {
      const { firstByteTimeoutMs, idleTimeoutMs, maxBodyBytes, includeUsage, ...rest } = others
      const { fallbackUrl, maxParallelRequests, noToolsFor, priceList, ...options } = rest
      const fallbackUrls = fallbackUrl?.join() === 'none' ? 'default' : fallbackUrl
      const limits = {
        firstByteTimeoutMs,
        idleTimeoutMs,
        maxBodyBytes,
        includeUsage,
        fallbackUrls,
        maxParallelRequests,
        modelsWithoutTools: patternsOf(noToolsFor),
        priceList,
      }
      const values = Object.entries(limits)
      const given = values.filter(([, value]) => value !== undefined)
      const settings = Object.fromEntries(given.map(([name, value]) => [name, value === 'default' ? null : value]))
      const keys = await readKeys(key, keyEnv)
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
          ...(provider.settings.fallbackUrls?.length && { 'fallback URLs': provider.settings.fallbackUrls.join(', ') }),
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

  withKeysCommands(providers)

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
  ['KEYS', ({ keyDetails }) => keyDetails.map(keyText).join(', ')],
  ['LAST FAILURE', ({ lastFailure }) => lastFailure && `${lastFailure.at.toISOString()} ${lastFailure.errorType}`],
]

/** Returns the patterns of an option: none for `none`, those of the server for `default`. */
/** Commander takes every `--no-…` for the negation of another option, whose value begins with true. */
function noToolsForOption(): Option {
  const option = new Option(
    '--no-tools-for <model>',
    'add no tools of MCP servers to requests for these models, * is any text; may be repeated; none: every model gets tools; default: small models',
  ).argParser(append)
  option.negate = false
  return option
}

function patternsOf(given: string[] | undefined): string[] | 'default' | undefined {
  if (given?.join() === 'none') return []
  return given?.join() === 'default' ? 'default' : given
}

/** Names the limits that differ from the server's. */
function limitsText(settings: ProviderSummary['settings']): string {
  const { firstByteTimeoutMs, idleTimeoutMs, maxBodyBytes, maxParallelRequests } = settings
  const limits = [
    { name: 'first byte within', value: firstByteTimeoutMs, unit: 'ms' },
    { name: 'silence of at most', value: idleTimeoutMs, unit: 'ms' },
    { name: 'bodies of at most', value: maxBodyBytes, unit: 'bytes' },
    { name: 'parallel requests of at most', value: maxParallelRequests, unit: 'in a daemon' },
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
  fallback_url_path: ({ settings, type }) =>
    `a fallback URL has another path than base URLs of type ${type} have: ${settings.fallbackUrls?.join(', ')}`,
}

/** Returns the sentence of a warning; the warning itself if only a newer server knows it. */
export function warningText(warning: string, provider: ProviderSummary, mountPath: string): string {
  const isKnown = Object.hasOwn(warningTexts, warning)
  return isKnown ? warningTexts[warning as ProviderWarning](provider, mountPath) : warning // checked on the line before
}

function exampleOf(baseUrl: string, mountPath: string): string {
  return `a request for /v1/models would reach ${baseUrl}${'/v1/models'.slice(mountPath.length)}`
}
