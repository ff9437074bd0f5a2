/** The views of the page: path, the people who may open it, and its file, which is loaded when the view is opened. */
import { type ComponentType, type LazyExoticComponent, lazy } from 'react'
import type { Session } from '../data/session.js'
import { matchPath, type Params } from '../navigation/match.js'
import type { ViewProps } from '../navigation/view.js'

/** One view. */
export interface Route {
  path: string
  /** absent: everybody */
  role?: Session['role']
  View: LazyExoticComponent<ComponentType<ViewProps>>
  /** loads the file of the view ahead of its opening */
  load: Load
}

type Load = () => Promise<{ default: ComponentType<ViewProps> }>

const admin = (path: string, load: Load): Route => ({ path, role: 'admin', View: lazy(load), load })
const all = (path: string, load: Load): Route => ({ path, View: lazy(load), load })

/** Every view. */
export const routes: readonly Route[] = [
  all('/interceptions', () => import('../views/interceptions/interceptions.js')),
  all('/interceptions/:id', () => import('../views/interceptions/interception.js')),
  all('/usage', () => import('../views/usage/usage.js')),
  all('/chats', () => import('../views/chats/chats.js')),
  all('/chats/:id', () => import('../views/chats/chat.js')),
  admin('/users', () => import('../views/users/users.js')),
  admin('/users/:id', () => import('../views/users/user.js')),
  all('/keys', () => import('../views/keys/keys.js')),
  admin('/providers', () => import('../views/providers/providers.js')),
  admin('/providers/:name', () => import('../views/providers/provider.js')),
  admin('/prices', () => import('../views/prices/prices.js')),
  admin('/mcp-servers', () => import('../views/mcp/mcp-servers.js')),
  admin('/mcp-servers/:id', () => import('../views/mcp/mcp-server.js')),
  admin('/agents', () => import('../views/agents/agents.js')),
  admin('/agents/:name', () => import('../views/agents/agent.js')),
  admin('/audit', () => import('../views/audit/audit.js')),
  admin('/start', () => import('../views/start/start.js')),
]

/** Returns the view at a path for a person with this role, and the parameters of the path. */
export function findRoute(path: string, role: Session['role']): { route: Route; params: Params } | undefined {
  for (const route of routes) {
    const params = route.role === undefined || route.role === role ? matchPath(route.path, path) : undefined
    if (params) return { route, params }
  }
  return undefined
}
