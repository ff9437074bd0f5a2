import { type AliasedRawBuilder, sql } from 'kysely'
import type { InterceptionKind } from '../../../shared/contract/recorder.js'

/** Selects the name of the user whose id stands in a column, as the column `username`; null for an unknown user. */
export function usernameOf(column: string): AliasedRawBuilder<string | null, 'username'> {
  return sql<string | null>`(select u.username from users u where u.id = ${sql.ref(column)})`.as('username')
}

/**
 * Selects the name of an interception's user, by the column that holds the interception's id; as {@link usernameOf}.
 */
export function initiatorNameOf(column: string): AliasedRawBuilder<string | null, 'username'> {
  return sql<string | null>`(
    select u.username from interceptions i join users u on u.id = i.initiator_id where i.id = ${sql.ref(column)}
  )`.as('username')
}

/** Selects the kind of an interception, by the column that holds the interception's id. */
export function interceptionKindOf(column: string): AliasedRawBuilder<InterceptionKind, 'interceptionKind'> {
  return sql<InterceptionKind>`(
    select coalesce(i.interception_kind, 'model') from interceptions i where i.id = ${sql.ref(column)}
  )`.as('interceptionKind')
}
