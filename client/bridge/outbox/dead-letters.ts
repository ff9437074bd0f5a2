/** Records that the control plane rejected for good, as files that an operator can read and send again. */
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BatchRecord } from '../../../shared/contract/recorder.js'
import { isPlainObject } from '../../../shared/values/text.js'
import { nodeFiles } from './journal/journal-files.js'
import { interceptionIn, userOf } from './open-interceptions.js'
import type { RejectedRecord } from './parcel.js'
import { recordOf } from './record-text.js'

/** A rejected record. */
export interface DeadLetter {
  /** name of its file without the suffix: the record's kind and id */
  name: string
  record: BatchRecord
  /** the interception to which the record belongs, where it is known */
  interception: BatchRecord<'interception'> | undefined
  /** the user of the record, where it is known */
  userId: string | undefined
  /** the code of the rejection */
  code: string
  message: string
  rejectedAt: Date
}

/** How long dead letters are kept. */
export const deadLetterDays = 30

const dayMs = 86_400_000
const suffix = '.json'
const lettersFolder = 'dead-letters'
const retryFolder = 'retry'
const unfinishedPrefix = 'unfinished-'

/**
 * The dead letters of one outbox, each a file in `dead-letters/`. A file that is moved to `retry/` is sent again by the
 * daemon that uses the outbox, also while it runs.
 */
export class DeadLetters {
  readonly #letters: string
  readonly #retries: string

  /** @param folder the outbox's folder */
  constructor(folder: string) {
    this.#letters = join(folder, lettersFolder)
    this.#retries = join(folder, retryFolder)
  }

  /**
   * Makes the folders, and removes letters that are older than {@link deadLetterDays} or were not written whole: their
   * records are in the journal. No other process may use the outbox.
   */
  async open(): Promise<void> {
    for (const folder of [this.#letters, this.#retries]) {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await chmod(folder, 0o700)
    }
    for (const file of await readdir(this.#letters)) {
      if (file.startsWith(unfinishedPrefix)) await rm(join(this.#letters, file), { force: true })
    }
    await this.expire(new Date())
  }

  /** Writes a letter. When the promise resolves, the file and its name are synced. */
  async keep({ record, interception, userId, rejection }: RejectedRecord): Promise<void> {
    const { code, message } = rejection
    // The user comes first, so that an erasure finds also a part of the text.
    const text = JSON.stringify({ userId, record, interception, code, message, rejectedAt: new Date() })
    const unfinished = join(this.#letters, unfinishedPrefix + randomUUID())
    try {
      const file = await open(unfinished, 'wx', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(unfinished, join(this.#letters, `${nameOf(record)}${suffix}`))
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => {}) // what stays is removed at the next start
      throw error
    }
    await nodeFiles.syncFolder(this.#letters)
  }

  /** Returns the number of letters, those that are to be sent again included. */
  async count(): Promise<number> {
    return (await namesIn(this.#letters)).length + (await namesIn(this.#retries)).length
  }

  /** Returns the letters, the oldest first. Files that are no letter are left out. */
  async list(): Promise<DeadLetter[]> {
    const letters = await lettersIn(this.#letters)
    return letters.sort((a, b) => a.rejectedAt.getTime() - b.rejectedAt.getTime())
  }

  /**
   * Marks letters to be sent again, all without names.
   * @returns their names
   */
  async retry(names?: readonly string[]): Promise<string[]> {
    const all = (await namesIn(this.#letters)).filter(name => names === undefined || names.includes(name))
    await mkdir(this.#retries, { recursive: true, mode: 0o700 })
    for (const name of all) await rename(join(this.#letters, name + suffix), join(this.#retries, name + suffix))
    return all
  }

  /** Returns the letters that are to be sent again. */
  retries(): Promise<DeadLetter[]> {
    return lettersIn(this.#retries)
  }

  /** Removes a letter that was taken over for another attempt. */
  async takenOver({ name }: DeadLetter): Promise<void> {
    await rm(join(this.#retries, name + suffix), { force: true })
  }

  /** Removes the letters of users. Returns user → number of letters. */
  async erase(userIds: ReadonlySet<string>): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    for (const folder of [this.#letters, this.#retries]) {
      for (const { name, userId } of await lettersIn(folder)) {
        if (userId === undefined || !userIds.has(userId)) continue
        await rm(join(folder, name + suffix), { force: true })
        counts.set(userId, (counts.get(userId) ?? 0) + 1)
      }
      await eraseUnreadable(folder, userIds)
    }
    return counts
  }

  /** Removes letters that are too old at a time. */
  async expire(now: Date): Promise<void> {
    for (const name of await namesIn(this.#letters)) {
      const path = join(this.#letters, name + suffix)
      const { mtime } = await stat(path)
      if (now.getTime() - mtime.getTime() > deadLetterDays * dayMs) await rm(path, { force: true })
    }
  }
}

function nameOf(record: BatchRecord): string {
  return `${record.kind}-${record.id}`
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    const files = await readdir(folder)
    return files.filter(file => file.endsWith(suffix)).map(file => file.slice(0, -suffix.length))
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

async function lettersIn(folder: string): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for (const name of await namesIn(folder)) {
    const letter = readLetter(name, await readFile(join(folder, name + suffix), 'utf8').catch(unlessMissing))
    if (letter) letters.push(letter)
  }
  return letters
}

function readLetter(name: string, text: string | undefined): DeadLetter | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    if (!isPlainObject(value)) return undefined
    const { code, message, rejectedAt } = value
    const record = recordOf(value.record)
    const interception = value.interception === undefined ? undefined : interceptionIn([recordOf(value.interception)])
    return {
      name,
      record,
      interception,
      userId: userOf([record], interception) ?? (typeof value.userId === 'string' ? value.userId : undefined),
      code: String(code),
      message: String(message),
      rejectedAt: new Date(String(rejectedAt)),
    }
  } catch {
    return undefined // a file of somebody else
  }
}

/** Removes files that are no letter, or no whole one, if the id of one of the users stands in them. */
async function eraseUnreadable(folder: string, userIds: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(folder, entry.name)
    const text = await readFile(path, 'utf8').catch(unlessMissing)
    if (text === undefined || (entry.name.endsWith(suffix) && readLetter(entry.name, text))) continue
    if ([...userIds].some(userId => text.includes(userId))) await rm(path, { force: true })
  }
}

function isMissing(error: unknown): boolean {
  return Reflect.get(Object(error), 'code') === 'ENOENT'
}

/** A letter may be moved or removed by another process between two steps. */
function unlessMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error
  return undefined
}
