/** Users' tokens for MCP servers. */
import { z } from 'zod'
import { slug, time } from '../fields.js'
import { token } from './fields.js'
import { userRef } from './users.js'

/** A user's token for an MCP server; replaces an earlier token. */
export const externalAuthLinksSetInput = z.object({
  user: userRef,
  serverId: slug,
  accessToken: token,
  refreshToken: token.optional(),
  expiresAt: time.optional(),
})

/** Lists the links of one user, or of all users. */
export const externalAuthLinksListInput = z.object({ user: userRef.optional() })

/** Removes a user's link to an MCP server. */
export const externalAuthLinksRemoveInput = z.object({ user: userRef, serverId: slug })

/** A link as an operator sees it, without its tokens. */
export interface ExternalAuthLink {
  userId: string
  /** null for an unknown user */
  username: string | null
  serverId: string
  expiresAt: Date | null
  /** whether the link has a refresh token */
  hasRefreshToken: boolean
  createdAt: Date
  updatedAt: Date
}
