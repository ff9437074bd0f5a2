/** Reads, writes and compares versions, MAJOR.MINOR. The service decides which versions exist. */

/** MAJOR.MINOR as two numbers. */
export interface Version {
  readonly major: number
  readonly minor: number
}

/** Parses `MAJOR.MINOR`; returns undefined for any other text. */
export function parseVersion(text: string): Version | undefined {
  const [, major, minor] = /^(\d{1,6})\.(\d{1,6})$/.exec(text) ?? []
  return major === undefined || minor === undefined ? undefined : { major: Number(major), minor: Number(minor) }
}

export function formatVersion({ major, minor }: Version): string {
  return `${major}.${minor}`
}

/** Returns the reason why a client cannot talk to a server; undefined for a compatible pair. */
export function versionProblem(client: Version, server: Version): 'version_unsupported' | 'server_older' | undefined {
  if (client.major !== server.major) return 'version_unsupported'
  return client.minor > server.minor ? 'server_older' : undefined
}
