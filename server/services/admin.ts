import { type ApiKeysAdmin, type ApiKeysAdminOptions, createApiKeysAdmin } from './admin-api-keys.js'
import {
  createInterceptionsAdmin,
  type InterceptionsAdmin,
  type InterceptionsAdminOptions,
} from './admin-interceptions.js'
import { createProvidersAdmin, type ProvidersAdmin, type ProvidersAdminOptions } from './admin-providers.js'
import { createUsersAdmin, type UsersAdmin, type UsersAdminOptions } from './admin-users.js'

/** What an operator does, by noun. */
export interface Admin {
  readonly users: UsersAdmin
  readonly apiKeys: ApiKeysAdmin
  readonly providers: ProvidersAdmin
  readonly interceptions: InterceptionsAdmin
}

export type AdminOptions = UsersAdminOptions & ApiKeysAdminOptions & ProvidersAdminOptions & InterceptionsAdminOptions

export function createAdmin(options: AdminOptions): Admin {
  return {
    users: createUsersAdmin(options),
    apiKeys: createApiKeysAdmin(options),
    providers: createProvidersAdmin(options),
    interceptions: createInterceptionsAdmin(options),
  }
}
