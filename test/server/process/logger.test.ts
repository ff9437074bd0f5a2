import { describe, expect, test } from 'vitest'
import { createLogger, errorFields } from '../../../server/process/logger.js'
import { DialError } from '../../../shared/rpc/dial-error.js'
import { RpcError } from '../../../shared/rpc/errors.js'

const secret = 'MARKEDMARKEDMARKEDMARK'
const key = `abcdefghij-${secret}`

/** What `log` makes a log write. */
function linesOf(
  log: (logger: ReturnType<typeof createLogger>) => void,
  secrets: string[] = [],
): Record<string, unknown>[] {
  const lines: string[] = []
  log(createLogger({ level: 'trace', secrets, write: line => void lines.push(line) }))
  return lines.map(line => JSON.parse(line))
}

describe('the log', () => {
  test('fields with the names of secrets are replaced, at the top and two levels below', () => {
    const [line] = linesOf(logger =>
      logger.info(
        {
          key: 'MARKED',
          apiKeyId: 'abcdefghij',
          request: {
            headers: { cookie: 'MARKED' },
            path: '/x',
            init: { 'x-api-key': 'MARKED', databaseUrl: 'MARKED' },
          },
        },
        'm',
      ),
    )
    expect(JSON.stringify(line)).not.toContain('MARKED')
    expect(line).toMatchObject({ apiKeyId: 'abcdefghij', request: { path: '/x', init: { 'x-api-key': '[secret]' } } })
  })

  test('type, message, stack, code and causes of an error are logged, and nothing else', () => {
    const quoting = Object.assign(new Error(`connect postgres://u:MARKED@h: ${key}`), {
      code: '23505',
      detail: 'Key (secret)=(MARKED) already exists',
      request: { headers: { authorization: 'MARKED' } },
    })
    const error = new RpcError('INTERNAL_SERVER_ERROR', 'failed', {
      cause: new AggregateError([quoting], 'all', { cause: 'sk-MARKED-MARKED' }),
    })
    const [line] = linesOf(logger => logger.error({ err: error }, `failed with ${key}`))
    expect(JSON.stringify(line)).not.toContain('MARKED')
    expect(line).toMatchObject({
      msg: 'failed with abcdefghij-[secret]',
      err: {
        type: 'RpcError',
        code: 'INTERNAL_SERVER_ERROR',
        message: 'failed',
        stack: expect.stringContaining('logger.test.ts'),
        cause: {
          type: 'AggregateError',
          cause: { type: 'string', message: 'sk-[secret]' },
          errors: [
            {
              type: 'Error',
              code: '23505',
              message: 'connect postgres://u:[secret]@h: abcdefghij-[secret]',
              stack: expect.stringContaining('abcdefghij-[secret]'),
            },
          ],
        },
      },
    })
    const { err } = Object(line)
    expect(Object.keys(err.cause.errors[0]).sort()).toEqual(['code', 'message', 'stack', 'type'])
  })

  test('a failed dial is one short line: its code and message, no stack and no causes', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:4100'), { code: 'ECONNREFUSED' })
    const dial = new DialError(cause.message, { fatal: false, cause })
    const lines = linesOf(logger => logger.warn({ err: dial }, 'm'))
    expect(lines).toMatchObject([{ err: { code: 'ECONNREFUSED' } }])
    expect(Object(lines[0]).err).toEqual({ type: 'DialError', message: cause.message, code: 'ECONNREFUSED' })
    const both = new AggregateError([cause, cause], 'no address answers')
    expect(errorFields(both).errors).toEqual([errorFields(cause), errorFields(cause)])
    expect(errorFields(cause)).toEqual({ type: 'Error', message: cause.message, code: 'ECONNREFUSED' })
  })

  test('an error that causes itself ends', () => {
    const error = new Error('round')
    error.cause = error
    expect(linesOf(logger => logger.error({ err: error }, 'm'))).toHaveLength(1)
  })

  test.each([[{ token: 'MARKED' }], [() => 'MARKED'], [undefined], [Symbol('s')]])(
    '%s that was thrown is no error',
    thrown => {
      expect(JSON.stringify(errorFields(thrown))).not.toContain('MARKED')
    },
  )

  test('what the process was given is masked wherever it stands, also where JSON escapes it', () => {
    const given = 'quote"back\\slash'
    const [line] = linesOf(logger => logger.warn({ reason: `it is ${given}` }, `${given} in a message`), [given, 'm'])
    expect(line).toMatchObject({ reason: 'it is [secret]', msg: '[secret] in a message' })
  })
})
