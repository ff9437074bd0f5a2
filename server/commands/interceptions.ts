/** `aibridge interceptions`: the AI requests that were recorded. */
import { type Command, Option } from 'commander'
import type { Interception, InterceptionDetail } from '../../shared/contract/admin/interceptions.js'
import type { WatchEvent, WatchedRecord, WatchedRecords } from '../../shared/contract/admin/watch.js'
import { errorReasonOf, rpcError } from '../../shared/contract/error-reasons.js'
import { originalBytesKey } from '../../shared/contract/fields.js'
import type { RecordKind } from '../../shared/contract/record-kinds.js'
import {
  type EndedBy,
  type ErrorType,
  endedBy,
  errorTypes,
  type InterceptionKind,
  interceptionKinds,
} from '../../shared/contract/recorder.js'
import { requestKindKey } from '../../shared/contract/request-kinds.js'
import { errorCodeOf, RpcError } from '../../shared/rpc/errors.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { isPlainObject, type JsonObject } from '../../shared/values/text.js'
import {
  type Column,
  cellText,
  print,
  printFields,
  printJson,
  printResult,
  printTable,
  visible,
} from '../process/output.js'
import type { AdminClient } from './common/admin-client.js'
import { callAdmin } from './common/call-admin.js'
import { timeOrAge, wholeNumber } from './common/option-values.js'
import { type CommonOptions, idHelp, ownOptions, withCommonOptions } from './common/options.js'

interface ListOptions extends CommonOptions {
  limit?: number
  cursor?: string
  user?: string
  provider?: string
  model?: string
  client?: string
  session?: string
  errorType?: ErrorType
  endedBy?: EndedBy
  from?: Date
  to?: Date
  internal?: boolean
  kind: InterceptionKind | 'all'
}

interface TailOptions extends CommonOptions {
  since?: string
  kind: InterceptionKind | 'all'
}

function kindOption(): Option {
  return new Option('--kind <kind>', 'AI requests, or calls of tools by MCP clients')
    .choices([...interceptionKinds, 'all'])
    .default('all')
}

/** Adds `interceptions list|show|tail`. */
export function addInterceptionsCommands(program: Command): void {
  const interceptions = program.command('interceptions').description('recorded AI requests')

  withCommonOptions(interceptions.command('list').description('newest first'))
    .option('--limit <n>', 'rows of this page, at most 200 (default: 50)', wholeNumber)
    .option('--cursor <cursor>', 'the nextCursor of the page before')
    .option('--user <user>', 'who asked, by name or id')
    .option('--provider <provider>', 'by type or name')
    .option('--model <model>')
    .option('--client <client>')
    .option('--session <id>', "the client's session")
    .addOption(new Option('--error-type <type>', 'how a request failed').choices(errorTypes))
    .addOption(new Option('--ended-by <author>', 'not ended by its daemon, but by').choices(endedBy))
    .addOption(kindOption())
    .option('--from <when>', 'started then or later: a time, or an age such as 12h', value => timeOrAge(value))
    .option('--to <when>', 'started before: a time, or an age', value => timeOrAge(value))
    .option('--no-internal', 'without the requests that clients make for themselves: titles, compactions, sub-agents')
    .action(async (options: ListOptions) => {
      const { session, internal, kind, ...filters } = ownOptions(options)
      const input = {
        ...filters,
        ...(session !== undefined && { clientSessionId: session }),
        ...(internal === false && { excludeInternal: true }),
        ...(kind !== 'all' && { interceptionKind: kind }),
      }
      const page = await callAdmin(options, admin => admin.interceptions.list.query(input))
      printResult(options, page, ({ interceptions, nextCursor }) => {
        printTable(interceptions, columns, 'no interceptions')
        if (nextCursor !== null) print(`more: --cursor ${nextCursor}`)
      })
    })

  withCommonOptions(
    interceptions.command('show <id>').description(`one request, with all its records; ${idHelp}`),
  ).action(async (id: string, options: CommonOptions) => {
    const detail = await callAdmin(options, admin => admin.interceptions.get.query({ id }))
    printResult(options, detail, () => printDetail(detail))
  })

  withCommonOptions(
    interceptions
      .command('tail')
      .description('every record as it is stored, one a line, until Ctrl-C or the end of the reader'),
  )
    .option('--since <event>', 'go on after this event id; without it, from now')
    .addOption(kindOption())
    .action(async ({ since, kind, ...options }: TailOptions) => {
      const shows = (event: WatchEvent) =>
        kind === 'all' || event.kind === 'watching' || event.interceptionKind === kind
      await callAdmin(options, admin => tail(admin, since, shows, options))
    })
}

/**
 * Prints records until the first signal or until the reader of stdout is gone. A server that goes away is dialled
 * again, and the stream goes on behind the last event.
 */
async function tail(
  admin: AdminClient,
  since: string | undefined,
  shows: (event: WatchEvent) => boolean,
  { json }: CommonOptions,
): Promise<void> {
  let stop = () => {}
  const ended = new Promise<void>((resolve, reject) => {
    const input = since === undefined ? undefined : { lastEventId: since }
    const subscription = admin.watch.subscribe(input, {
      onData({ id, data }) {
        if (!shows(data)) return
        if (json) printJson({ id, ...data })
        else print(`${id.padStart(8)}  ${lineOf(data)}`)
      },
      onError: error => reject(since === undefined ? error : sinceProblem(error, since)),
      onComplete: resolve,
    })
    stop = () => {
      subscription.unsubscribe()
      resolve()
    }
  })
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) process.once(signal, stop)
  process.stdout.once('error', stop)
  try {
    await ended
  } finally {
    for (const signal of signals) process.off(signal, stop)
    process.stdout.off('error', stop)
  }
}

/** Returns an error about the event id in the words of the command line; any other error stays as it is. */
function sinceProblem(error: unknown, since: string): unknown {
  const option = `--since ${JSON.stringify(since)}:`
  if (errorReasonOf(error) === 'event_expired') {
    const message = `${option} later records are not kept any more; tail without --since, and list the missed requests`
    return rpcError('event_expired', message, { cause: error })
  }
  if (errorCodeOf(error) !== 'BAD_REQUEST') return error
  return new RpcError('BAD_REQUEST', `${option} is not an event id of this server, as tail prints them`, {
    cause: error,
  })
}

function lineOf(event: WatchEvent): string {
  if (event.kind === 'watching') return 'watching'
  const { at, interceptionId, event: name, detail } = partsOf(event)
  const [id, user] = [shortIdOf(interceptionId), cellText(event.username)]
  return [at.toISOString(), id, user.padEnd(8), name.padEnd(7), detail].join('  ')
}

/** The parts of a record's line; the name of the user stands beside the record. */
interface LineParts {
  at: Date
  interceptionId: string
  event: string
  detail: string
}

function partsOf<K extends RecordKind>({ kind, record }: WatchedRecord<K>): LineParts {
  return lines[kind](record)
}

/** Kind → the line of a record. */
const lines: { [K in RecordKind]: (record: WatchedRecords[K]) => LineParts } = {
  interception({ id, startedAt, providerName, model, client }) {
    const detail = [providerName, model, client].map(cellText).join('  ')
    return { at: startedAt, interceptionId: id, event: 'started', detail }
  },
  interceptionEnded({ id, endedAt, errorType, endedBy: author }) {
    return { at: endedAt, interceptionId: id, event: 'ended', detail: errorText({ errorType, endedBy: author }) }
  },
  tokenUsage(record) {
    const { inputTokens, outputTokens, cacheReadInputTokens } = record
    return childLine(record, 'tokens', `input ${inputTokens}, output ${outputTokens}, cached ${cacheReadInputTokens}`)
  },
  promptUsage: record => childLine(record, 'prompt', record.prompt),
  toolUsage: record => childLine(record, 'tool', `${record.tool} ${record.input}`),
  modelThought: record => childLine(record, 'thought', record.content),
}

/** Characters of content in a line; `show` prints all. */
const shownContent = 120

function childLine(child: { createdAt: Date; interceptionId: string }, event: string, content: string): LineParts {
  const shown = content.length > shownContent ? `${content.slice(0, shownContent)}…` : content
  return { at: child.createdAt, interceptionId: child.interceptionId, event, detail: cellText(shown) }
}

const columns: Column<Interception>[] = [
  ['STARTED', row => row.startedAt],
  ['ID', row => shortIdOf(row.id)],
  ['USER', row => row.username ?? shortIdOf(row.initiatorId)],
  ['PROVIDER', row => row.providerName],
  ['MODEL', row => row.model],
  ['CLIENT', row => row.client],
  ['TOOK', tookOf],
  ['ERROR', errorText],
]

/** Returns the error type, and the author of an end that is not the daemon's. */
function errorText({ errorType, endedBy: author }: Pick<Interception, 'errorType' | 'endedBy'>): string {
  return author === null ? cellText(errorType) : `${cellText(errorType)} (ended by ${author})`
}

function tookOf({ startedAt, endedAt }: Interception): string {
  return endedAt === null ? 'no end yet' : `${((endedAt.getTime() - startedAt.getTime()) / 1000).toFixed(2)} s`
}

function printDetail(detail: InterceptionDetail): void {
  const { username, ...fields } = detail.interception
  printFields({ user: username, ...fields })
  for (const usage of detail.tokenUsages) {
    print(
      `\ntokens  ${usage.model === null ? '' : `${visible(usage.model)}: `}input ${usage.inputTokens}, output ${usage.outputTokens}, cache read ${usage.cacheReadInputTokens}, cache write ${usage.cacheWriteInputTokens}${usage.metadata?.estimated === true ? ' (estimated)' : ''}`,
    )
  }
  for (const { prompt, metadata } of detail.promptUsages) {
    const kind = metadata?.[requestKindKey]
    const heading = typeof kind === 'string' ? `prompt of the client (${visible(kind)})` : 'prompt'
    printBlock(heading, shown(prompt, metadata, 'prompt'))
  }
  for (const { content, metadata } of detail.modelThoughts) printBlock('thought', shown(content, metadata, 'content'))
  for (const { tool, input, invocationError, metadata } of detail.toolUsages) {
    const text = shown(input, metadata, 'input')
    printBlock(`tool  ${visible(tool)}`, invocationError === null ? text : `${text}\nerror: ${invocationError}`)
  }
}

/** Returns content, or the size of content that a bridge left out of the record. */
function shown(text: string, metadata: JsonObject | null, field: string): string {
  const sizes = metadata?.[originalBytesKey]
  const size = isPlainObject(sizes) ? sizes[field] : undefined
  return text === '' && typeof size === 'number' ? `(not recorded, ${size.toLocaleString('en')} bytes)` : text
}

function printBlock(heading: string, content: string): void {
  print(`\n${heading}`)
  for (const line of content.split('\n')) print(`  ${visible(line)}`)
}
