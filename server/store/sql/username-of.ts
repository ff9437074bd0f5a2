import { type AliasedRawBuilder, sql } from 'kysely'

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
