import type { Logger } from '../../shared/values/log.js'
import type { Store } from '../store/store.js'
import { type Admin, createAdmin } from './admin/admin.js'
import { createDaemonKeys, type DaemonKeys } from './admin/daemon-keys.js'
import type { RotateKeys } from './admin/secret-rotation.js'
import { type Authorizer, createAuthorizer } from './daemon/authorizer.js'
import { createKeyUse, type KeyUse } from './daemon/key-use.js'
import { createMcpConfigurator, type McpConfigurator } from './daemon/mcp-configurator.js'
import { createProviderConfigurator, type ProviderConfigurator } from './daemon/provider-configurator.js'
import { createRecorder, type Recorder } from './daemon/recorder.js'
import type { SecretBox } from './secrets.js'

/** All services, one for each router, and those that the links below ask. */
export interface Services {
  readonly recorder: Recorder
  readonly authorizer: Authorizer
  readonly mcpConfigurator: McpConfigurator
  readonly providerConfigurator: ProviderConfigurator
  readonly admin: Admin
  readonly daemonKeys: DaemonKeys
  /** stopped by the server, behind the last call */
  readonly keyUse: KeyUse
}

export interface ServicesOptions {
  store: Store
  secrets: SecretBox
  logger: Logger
  /** where this server is reached from its own machine, without a slash at its end; undefined until it listens */
  ownUrl: () => string | undefined
  /** each record is also a log line */
  structuredLogging?: boolean
  /** the current time; a test's clock */
  now?: () => Date
  /** makes a new key for `secrets`, where the keys are the server's own */
  rotateKeys?: RotateKeys
  /** how long one call of a purge erases */
  purgeSliceMs?: number
}

/** Puts the services of one server together. */
export function createServices(options: ServicesOptions): Services {
  const daemonKeys = createDaemonKeys(options)
  const keyUse = createKeyUse(options)
  return {
    recorder: createRecorder(options),
    authorizer: createAuthorizer({ ...options, keyUse }),
    mcpConfigurator: createMcpConfigurator(options),
    providerConfigurator: createProviderConfigurator(options),
    admin: createAdmin({ ...options, daemonKeys }),
    daemonKeys,
    keyUse,
  }
}
