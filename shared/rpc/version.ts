/** Versions of what a server serves, MAJOR.MINOR: read, written and compared. Which versions there are is the service's own matter. */

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
