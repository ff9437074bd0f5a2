// @ts-check
/**
 * PGlite in a worker thread, because its calls block the event loop of their thread.
 *
 * In: one {@link Request} per message; responses come in the order of the requests. Out: one {@link Opened} or
 * {@link Failed} at first, then an {@link Response} for each request. An error that is not PostgreSQL's own ends the
 * thread: the module's memory may be damaged. So does an error after which a PostgreSQL server would restart, such as a
 * write-ahead log that does not fit on the disk: PGlite goes on, and hangs at the next statement.
 *
 * Plain JavaScript, and packages only: the file runs from the source tree and from dist alike.
 *
 * @typedef {import('../sql/pipeline.js').Statement} Statement
 * @typedef {import('../sql/pipeline.js').StatementResult} StatementResult
 * @typedef {{ id: number, statements: readonly Statement[] } | { id: number, close: true }} Request
 * @typedef {{ kind: 'opened' }} Opened
 * @typedef {{ kind: 'failed', message: string }} Failed
 * @typedef {{ message: string, code: string | undefined, constraint: string | undefined }} SqlError
 * @typedef {{ kind: 'response', id: number, results: StatementResult[] }
 *   | { kind: 'error', id: number, error: SqlError }} Response
 * @typedef {{ kind: 'notified', channel: string, payload: string }} Notified a NOTIFY that a committed transaction sent
 */

import { parentPort, workerData } from 'node:worker_threads'
import { messages, PGlite, parse, protocol } from '@electric-sql/pglite'

/** Distinct statements kept prepared; more run unprepared. Far above the number of statements in this project. */
const maxPrepared = 256

/**
 * PGlite's file system throws objects that are no Error and hold nothing but a number of WASI's list,
 * https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#-errno-variant; an operator can mend these three.
 */
const errnos = new Map([
  [2, 'EACCES: permission denied'],
  [51, 'ENOSPC: no space left on device'],
  [69, 'EROFS: read-only file system'],
])

/**
 * PostgreSQL writes zeros over its buffers at each start, which takes three quarters of a start with its default of
 * 128 MB. Reads are as fast with this size, also of a table three times as large: the pages are in the operating
 * system's cache. PGlite's own parameters come first.
 */
const startParams = [...PGlite.defaultStartParams, '-c', 'shared_buffers=16MB']

const { serialize } = protocol
const port = parentPort
if (!port) throw new Error('pglite-worker.js runs as a worker thread only')

/**
 * @type {{ dataDir: string, code: WebAssembly.Module }} where PGlite opens the database, or else makes a new one;
 *   PGlite's file pglite.wasm
 */
const { dataDir, code } = workerData
const database = await open()

/** @type {Map<string, string>} text of a statement → its name */
const prepared = new Map()

/** @type {Promise<void>} */
let turn = Promise.resolve()
port.on('message', request => {
  turn = turn.then(() => respond(request))
})
database.onNotification((channel, payload) => send({ kind: 'notified', channel, payload }))
send({ kind: 'opened' })

async function open() {
  /** @type {string[]} the last lines that PostgreSQL logged: the only place where it says why it cannot start */
  let log = []
  try {
    const onStderr = (/** @type {string} */ line) => {
      log = [...log.slice(-9), line]
      return true
    }
    const opened = await PGlite.create({ dataDir, pgliteWasmModule: code, startParams, onStderr })
    // Plans of prepared statements are kept, and may be made while the tables are small: the settings give the plans
    // that fit large tables.
    await opened.exec('set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off')
    return opened
  } catch (error) {
    const words = log.filter(line => /PANIC|FATAL|ERROR/.test(line)).slice(-2)
    send({ kind: 'failed', message: [wordsOf(error), ...words].join('; ') })
    throw error
  }
}

/** @param {unknown} error */
function wordsOf(error) {
  if (error instanceof Error) return error.message
  const errno = Reflect.get(Object(error), 'errno')
  return errnos.get(errno) ?? (errno === undefined ? String(error) : `file system error ${errno}`)
}

/** @param {Request} request */
async function respond(request) {
  if ('close' in request) {
    await database.close()
    send({ kind: 'response', id: request.id, results: [] })
    port?.close()
    return
  }
  const { id, statements } = request
  // All messages of the extended protocol at once: PGlite's own query() makes five calls and takes twice as long. The
  // statements before a Sync are one transaction, unless the session has one already.
  const steps = []
  /** @type {string[]} the statements that get a name by this request, in order */
  const parsed = []
  for (const { sql, parameters } of statements) {
    let name = prepared.get(sql)
    if (name === undefined) {
      name = prepared.size < maxPrepared ? `s${prepared.size}` : ''
      steps.push(serialize.parse({ text: sql, name }))
      parsed.push(name === '' ? '' : sql)
      if (name !== '') prepared.set(sql, name)
    }
    steps.push(
      serialize.bind({ statement: name, values: [...parameters] }),
      serialize.describe({ type: 'P' }),
      serialize.execute({}),
    )
  }
  steps.push(serialize.sync())
  const received = await database.execProtocolStream(Buffer.concat(steps), { throwOnError: false, syncToFs: false })
  const error = received.find(message => message instanceof messages.DatabaseError)
  if (error) {
    // After an error the session skips everything up to the Sync.
    const done = received.filter(message => message.name === 'parseComplete').length
    for (const sql of parsed.slice(done)) prepared.delete(sql)
    const { message, code, constraint, severity } = error
    if (severity === 'PANIC' || severity === 'FATAL') throw new Error(`PostgreSQL stopped: ${severity}: ${message}`)
    send({ kind: 'error', id, error: { message, code, constraint } })
    return
  }
  const results = parse.parseResults(received, database.parsers)
  send({ kind: 'response', id, results: results.map(({ rows, rowCount }) => ({ rows, rowCount: rowCount ?? 0 })) })
}

/** @param {Opened | Failed | Response | Notified} message */
function send(message) {
  port?.postMessage(message)
}
