/** The page docs/configuration.md, made from the declarations of the settings. */
import { providerTypes } from '../../shared/contract/provider-configurator.js'
import { defaultOf, flagOf, type Setting, type Settings } from './setting.js'
import {
  acpConnectSettings,
  acpServeSettings,
  agentSettings,
  clientSettings,
  configSetting,
  daemonSettings,
  databaseSettings,
  seedVariables,
  serveSettings,
  userSettings,
} from './settings.js'

/** Returns the text of docs/configuration.md. */
export function configurationPage(): string {
  const seeds = providerTypes.map(type => ({ type, ...seedVariables(type) }))
  return `<!-- Made from server/config/settings.ts by: npm run docs:configuration -->

# Configuration

For people who set up \`serve\`, \`daemon\` and the commands. A flag wins over its variable, and a variable over the file that \`--config\` or \`BRIDGE_CONFIG\` names. The file holds a JSON object with the names of the first column:
\`{"port": 4100, "databaseUrl": "postgres://…"}\`. An empty variable is an unset one.

\`aibridge config check serve\` and \`aibridge config check daemon\` check the settings as the command would, and show each value with its source, and the files in use. Secrets are shown as \`set\` only.

## serve

${table({ config: configSetting, ...serveSettings })}

aibridge speaks plain HTTP: on an address other than loopback, put a [TLS proxy](operations.md#tls) in front. See also [PostgreSQL](operations.md#postgresql), [Retention](operations.md#retention),
[Changing the encryption key](operations.md#changing-the-encryption-key) and [Without content](recording.md#without-content).

When a database is used for the first time, these variables make providers. Afterwards the database counts.

| variable | makes |
|---|---|
${seeds.map(({ type, key, baseUrl }) => `| \`${key}\` | the provider \`${type}\`, with this key. \`${baseUrl}\` is its base URL; default: the vendor's |`).join('\n')}

## daemon

${table({ config: configSetting, ...daemonSettings })}

[Daemon](daemon.md) says how to run one.

## agent

${table({ config: configSetting, ...agentSettings })}

[Agents](agents.md) says how to run one.

## acp serve

${table({ config: configSetting, ...acpServeSettings })}

## acp connect

${table(acpConnectSettings)}

[The Agent Client Protocol](acp.md) says how to run both.

## Commands that call a server

${table(clientSettings)}

\`--url\` reaches a server elsewhere, behind a TLS proxy and below a path if need be: \`aibridge users list --url https://bridge.example.com/team\`. \`--host\` or \`--port\` on the command line win over \`BRIDGE_URL\`.
These commands read no configuration file.

## Commands of users

${table(userSettings)}

The key is one that \`aibridge keys create\` printed. [Chats](chats.md) has the commands.

## import and migrate

${table({ config: configSetting, ...databaseSettings })}

The file may be the one of \`serve\`.
`
}

/** Returns a table of settings, with a column for the names in the file if the command reads a file. */
function table(settings: Settings): string {
  const readsFile = Object.hasOwn(settings, 'config')
  const columns = [...(readsFile ? ['name in the file'] : []), 'flag', 'variable', 'accepts', 'default', 'meaning']
  const rows = Object.entries(settings).map(([name, setting]) => {
    const nameCell = setting === configSetting ? '' : code(name)
    return line([...(readsFile ? [nameCell] : []), ...cellsOf(name, setting)])
  })
  return [line(columns), `|${'---|'.repeat(columns.length)}`, ...rows].join('\n')
}

function cellsOf(name: string, setting: Setting): string[] {
  const { flag, variables, accepts, help, schema } = setting
  const value = typeof flag === 'object' ? ` ${flag.value.toUpperCase()}` : ''
  const isRequired = !schema.safeParse(undefined).success
  return [
    flag === 'none' ? '' : code(`${flagOf(name, flag)}${value}`),
    variables.map(code).join(', '),
    accepts,
    isRequired ? 'required' : (defaultOf(setting) ?? ''),
    help,
  ]
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`.replaceAll('|  |', '| |')
}

function code(text: string): string {
  return `\`${text}\``
}
