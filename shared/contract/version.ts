/**
 * The version of the contract, MAJOR.MINOR. A minor adds (procedures, optional fields, reasons), a major changes or removes.
 * A client talks to a server of the same major whose minor is not below its own.
 *
 * | version | what it brought |
 * | --- | --- |
 * | 1.0 | recorder, authorizer, providerConfigurator.getProviders; admin: users, apiKeys, daemonKeys, providers, interceptions |
 * | 1.1 | mcpConfigurator, providerConfigurator.watchProviders; admin: watch, audit, mcpServers, externalAuthLinks, usage, secrets, users.purge |
 * | 1.2 | admin: API keys with a name and the time of their last use |
 */
export const apiVersion = { major: 1, minor: 2 } as const

/** MAJOR.MINOR as two numbers. */
export interface Version {
  readonly major: number
  readonly minor: number
}

/** Reads `MAJOR.MINOR`; undefined for anything else. */
export function parseVersion(text: string): Version | undefined {
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})$/.exec(text) ?? []
  return major === undefined || minor === undefined ? undefined : { major: Number(major), minor: Number(minor) }
}

export function formatVersion({ major, minor }: Version): string {
  return `${major}.${minor}`
}

/** Why a client cannot talk to a server; undefined if it can. */
export function versionProblem(client: Version, server: Version): 'version_unsupported' | 'server_older' | undefined {
  if (client.major !== server.major) return 'version_unsupported'
  return client.minor > server.minor ? 'server_older' : undefined
}
