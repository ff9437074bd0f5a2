/** `aibridge outbox`: the records that bridges on this machine have not handed over. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { DeadLetter, DeadLetters } from '../../client/bridge/outbox/dead-letters.js'
import type { OutboxState } from '../../client/bridge/outbox/inspect.js'
import { rpcError } from '../../shared/contract/error-reasons.js'
import { interceptionIdOf } from '../../shared/contract/record-kinds.js'
import { shortIdOf } from '../../shared/values/short-id.js'
import { outboxCommandSettings } from '../config/settings.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { withJsonOption, withSettings } from './common/options.js'

interface OutboxOptions {
  data?: string
  outbox?: string
  json?: boolean
}

/** Adds `outbox status`, `outbox dead-letters` and `outbox retry`. */
export function addOutboxCommands(program: Command): void {
  const outbox = program.command('outbox').description('records on this machine that are not handed over yet')

  withOutboxOptions(outbox.command('status').description('what waits in the outboxes of this machine')).action(
    async (options: OutboxOptions) => {
      const { inspectOutbox } = await import('../../client/bridge/outbox/inspect.js')
      const outboxes: OutboxState[] = []
      for (const folder of await foldersOf(options)) outboxes.push(await inspectOutbox(folder))
      printResult(options, { outboxes }, () => printTable(outboxes, statusColumns, 'no outbox'))
    },
  )

  withOutboxOptions(
    outbox.command('dead-letters').description('records that the control plane rejected for good, the oldest first'),
  ).action(async (options: OutboxOptions) => {
    const letters = await Promise.all((await openAll(options)).map(each => each.list()))
    const deadLetters = letters.flat().map(shownLetter)
    printResult(options, { deadLetters }, () => printTable(deadLetters, letterColumns, 'no dead letters'))
  })

  withOutboxOptions(
    outbox
      .command('retry')
      .description('send dead letters again, through the bridge that uses their outbox, or at its next start')
      .argument('[names...]', 'names of dead letters, as the list prints them; all without a name'),
  ).action(async (names: string[], options: OutboxOptions) => {
    const retried: string[] = []
    for (const each of await openAll(options)) {
      retried.push(...(await each.retry(names.length === 0 ? undefined : names)))
    }
    const [unknown] = names.filter(name => !retried.includes(name))
    if (unknown !== undefined) throw rpcError('unknown_row', `no dead letter has the name ${unknown}`)
    printResult(options, { retried }, () => {
      print(retried.length === 0 ? 'no dead letters' : `${retried.length} dead letters will be sent again`)
    })
  })
}

function withOutboxOptions(command: Command): Command {
  return withJsonOption(withSettings(command, outboxCommandSettings))
}

/** Returns the outbox that the options name, or else all of the data directory. */
async function foldersOf({ data, outbox }: OutboxOptions): Promise<string[]> {
  const [{ checkSettings }, { outboxesIn }] = await Promise.all([
    import('../config/check.js'),
    import('../config/config.js'),
  ])
  const { values } = checkSettings(outboxCommandSettings, { flags: { data, outbox }, environment: process.env })
  if (values.outbox !== undefined) return [values.outbox]
  const parent = outboxesIn(values.data)
  try {
    const entries = await readdir(parent, { withFileTypes: true })
    return entries.flatMap(entry => (entry.isDirectory() ? [join(parent, entry.name)] : [])).sort()
  } catch (error) {
    if (Reflect.get(Object(error), 'code') === 'ENOENT') return []
    throw error
  }
}

async function openAll(options: OutboxOptions): Promise<DeadLetters[]> {
  const { DeadLetters } = await import('../../client/bridge/outbox/dead-letters.js')
  return (await foldersOf(options)).map(folder => new DeadLetters(folder))
}

const statusColumns: Column<OutboxState>[] = [
  ['OUTBOX', outbox => outbox.folder],
  ['PROCESS', outbox => outbox.pid],
  ['UNDER WAY', outbox => outbox.underWay],
  ['WAITING', outbox => outbox.waiting],
  ['RECORDS', outbox => outbox.records],
  ['BYTES', outbox => outbox.bytes],
  ['DEAD LETTERS', outbox => outbox.deadLetters],
  ['RETRIES', outbox => outbox.retries],
  ['DAMAGED', outbox => outbox.damaged.join(' ')],
]

/** Returns a dead letter without the words of users and models. */
function shownLetter({ name, record, code, message, rejectedAt }: DeadLetter) {
  return { name, kind: record.kind, interceptionId: interceptionIdOf(record), code, message, rejectedAt }
}

const letterColumns: Column<ReturnType<typeof shownLetter>>[] = [
  ['REJECTED', letter => letter.rejectedAt],
  ['NAME', letter => letter.name],
  ['INTERCEPTION', letter => shortIdOf(letter.interceptionId)],
  ['CODE', letter => letter.code],
  ['MESSAGE', letter => letter.message],
]
