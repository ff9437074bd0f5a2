/** Users, who own API keys, and the erasure of a user. */
import { z } from 'zod'
import { uuid } from '../fields.js'
import { adminLimits } from '../limits.js'

/** 1 to 64 characters of letters, digits and `._@-`; begins with a letter or digit. */
export const username = z
  .string()
  .max(adminLimits.maxUsernameLength)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]*$/, 'must be letters, digits and ._@-, the first a letter or digit')

/** The states of users, besides deleted ones. The keys of a suspended user are rejected. */
export const userStatuses = ['active', 'suspended'] as const

/** `active` or `suspended`. */
export type UserStatus = (typeof userStatuses)[number]

/**
 * A person or a program whose requests are recorded. Ids are UUIDs, times are moments in UTC; `deletedAt` is null
 * unless the user is deleted.
 */
export interface User {
  id: string
  username: string
  status: UserStatus
  /** owns the server's own work; keys of a system user are rejected */
  isSystem: boolean
  createdAt: Date
  deletedAt: Date | null
}

/**
 * A user by id, by name, or by the short form of the id; `BAD_REQUEST` (ambiguous_id) if the short form is the name of
 * another user.
 */
export const userRef = z.union([uuid, username], "must be a user's id or name")

/**
 * A name in the form of a UUID is rejected: where a user can be given by id or name, the name could mean another user.
 */
export const usersCreateInput = z.object({
  username: username.refine(value => !uuid.safeParse(value).success, 'must not be a UUID'),
})

/** Suspends a user, or makes the user active again. */
export const usersSetStatusInput = z.object({ user: userRef, status: z.enum(userStatuses) })

/** Deletes a user. The user's records stay, and the name is free for a new user. */
export const usersDeleteInput = z.object({ user: userRef })

/** Erases a user and all records of the user, in slices: see {@link PurgeProgress}. */
export const usersPurgeInput = z.object({ user: userRef })

/** The progress of a purge; `done: false` says to call again. The counts are those of all calls of the purge. */
export interface PurgeProgress {
  userId: string
  done: boolean
  interceptions: number
  /** records of those interceptions */
  records: number
  apiKeys: number
  /** links to MCP servers */
  links: number
  /** conversations with injected tools */
  conversations: number
  chats: number
  /** when the purge is done, if the server is of version 1.5 or newer */
  daemons?: PurgedDaemons
}

/** The erasure of the user's records that daemons have not handed over. */
export interface PurgedDaemons {
  /** number of daemons that have erased the user */
  reached: number
  /** number of records that they removed */
  records: number
  /** the daemons that may still hold records of the user, one line for each key, the newest sight first */
  unreached: UnreachedDaemon[]
}

/**
 * A daemon that has not confirmed an erasure: it is not connected, or too slow, or of a version before 1.5. A daemon of
 * version 1.5 erases by itself as soon as it is back.
 */
export interface UnreachedDaemon {
  /** null for a daemon in the process of a server */
  daemonKeyId: string | null
  /** the name of its key */
  name: string | null
  lastSeenAt: Date
}
