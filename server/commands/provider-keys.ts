/** `aibridge providers keys`: the keys of a provider one by one, and the options that give keys. */
import type { Command } from 'commander'
import type { KeyRejection, ProviderKeySummary, ProviderSummary } from '../../shared/contract/admin/providers.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { RpcError } from '../../shared/rpc/errors.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { type Column, printResult, printTable } from '../process/output.js'
import { callAdmin } from './common/call-admin.js'
import { type CommonOptions, withCommonOptions } from './common/options.js'

/** Help of the option `--key`. */
export const keyHelp =
  'may be repeated; "-" reads keys from stdin, one in each line, since other users can see arguments'

/** Help of the option `--key-env`. */
export const keyEnvHelp = 'the environment variable that holds a key; may be repeated'

/**
 * Returns the keys that options name, in order.
 * @throws RpcError `BAD_REQUEST` (config_invalid) for an empty key or variable
 */
export async function readKeys(given: readonly string[] = [], variables: readonly string[] = []): Promise<string[]> {
  const keys: string[] = []
  for (const key of given) keys.push(...(key === '-' ? (await readStdin()).split(/\s*\n\s*/) : [key]))
  if (keys.includes('')) throw new RpcError('BAD_REQUEST', '--key: is empty', { reason: 'config_invalid' })
  for (const variable of variables) {
    const key = process.env[variable]?.trim()
    if (!key) {
      const problem = `environment variable ${variable}: is not set, or empty`
      throw new RpcError('BAD_REQUEST', problem, { reason: 'config_invalid' })
    }
    keys.push(key)
  }
  return keys
}

async function readStdin(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk
  return text.trim()
}

interface KeysAddOptions extends CommonOptions {
  key?: string[]
  keyEnv?: string[]
  preferred?: boolean
}

/** Adds `providers keys list|add|remove|order`. */
export function withKeysCommands(providers: Command): void {
  const keys = providers.command('keys').description('the keys of a provider, in the order in which they are used')
  const show = (options: CommonOptions, provider: ProviderSummary) =>
    printResult(options, provider, () => printTable(provider.keyDetails, keyColumns, `${provider.name} has no keys`))

  withCommonOptions(keys.command('list <name>').description('its keys, masked, and those that it rejects')).action(
    async (name: string, options: CommonOptions) => {
      const provider = await callAdmin(options, async admin =>
        (await admin.providers.list.query()).find(provider => provider.name === name),
      )
      if (!provider) throw rpcError('unknown_row', `no provider has the name ${JSON.stringify(name)}`)
      const { keyDetails } = provider
      printResult(options, keyDetails, () => printTable(keyDetails, keyColumns, `${name} has no keys`))
    },
  )

  withCommonOptions(keys.command('add <name>').description('add keys behind the others'))
    .option('--key <key>', keyHelp, append)
    .option('--key-env <variable>', keyEnvHelp, append)
    .option('--preferred', 'before the others')
    .action(async (name: string, { key, keyEnv, preferred, ...options }: KeysAddOptions) => {
      const given = await readKeys(key, keyEnv)
      if (given.length === 0) {
        throw new RpcError('BAD_REQUEST', 'give --key or --key-env', { reason: 'config_invalid' })
      }
      const input = { name, keys: given, ...(preferred && { isPreferred: true }) }
      show(options, await callAdmin(options, admin => admin.providers.keys.add.mutate(input)))
    })

  withCommonOptions(keys.command('remove <name> <id...>').description('forget keys')).action(
    async (name: string, ids: string[], options: CommonOptions) => {
      show(options, await callAdmin(options, admin => admin.providers.keys.remove.mutate({ name, ids })))
    },
  )

  withCommonOptions(
    keys.command('order <name> <id...>').description('use these keys before the others, in this order'),
  ).action(async (name: string, ids: string[], options: CommonOptions) => {
    show(options, await callAdmin(options, admin => admin.providers.keys.order.mutate({ name, ids })))
  })
}

const keyColumns: Column<ProviderKeySummary>[] = [
  ['ID', ({ id }) => shortIdOf(id)],
  ['KEY', ({ hint }) => hint],
  ['REJECTED', ({ rejection }) => rejection && rejectionText(rejection)],
  ['REPORTED BY', ({ rejection }) => rejection?.reportedBy],
]

/** Returns the hint of a key, with its rejection if there is one. */
export function keyText({ hint, rejection }: ProviderKeySummary): string {
  return rejection ? `${hint} (rejected: ${rejectionText(rejection)})` : hint
}

/** Returns the status of a rejection, its age and, if it concerns only one, the model. */
function rejectionText({ status, model, at }: KeyRejection): string {
  return `${status}${model === null ? '' : ` for ${model}`}, ${ageText(Date.now() - at.getTime())} ago`
}

function ageText(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000))
  if (minutes < 120) return `${minutes} min`
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`
}

/** Collects the values of an option that may be repeated. */
export function append(value: string, before: string[] = []): string[] {
  return [...before, value]
}
