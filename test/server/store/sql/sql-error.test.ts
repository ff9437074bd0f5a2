/** What an error of a database keeps, when what is known of the commit changes. */
import { expect, test } from 'vitest'
import { partlyCommitted, SqlError, threadEnded } from '../../../../server/store/sql/sql-error.js'

const fields = { message: 'ended', code: threadEnded, constraint: 'users_pkey', cause: new Error('out of memory') }

test.each([
  ['of a part', true, partlyCommitted(new SqlError({ ...fields, mayHaveCommitted: false }))],
  ['of a transaction without a commit', false, new SqlError({ ...fields, mayHaveCommitted: true }).uncommitted()],
])('an error %s keeps its message, code, constraint and cause', (_, mayHaveCommitted, error) => {
  expect(error).toBeInstanceOf(SqlError)
  const { message, code, constraint, cause } = error as SqlError // as the line above says
  expect({ message, code, constraint, cause }).toEqual(fields)
  expect(error).toMatchObject({ mayHaveCommitted })
})
