/** The secrets in the data directory: each is a file of one line that only the owner may read, made once. */
import { randomBytes } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { access, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Logger, silentLogger } from '../../shared/values/log.js'
import { invalid } from '../config/config-error.js'
import { checkAdminToken, parseEncryptionKeys, secretFiles } from '../config/keys.js'
import type { RotateKeys } from '../services/admin/secret-rotation.js'

/** The embedded database's directory in the data directory. */
const databaseName = 'pg'

/** Returns whether a server has stored anything in this directory. */
export function hasDatabase(dataDir: string): boolean {
  return existsSync(join(dataDir, databaseName))
}

/**
 * Returns the admin token in the data directory; undefined without such a file.
 * @throws RpcError `BAD_REQUEST` (config_invalid) if the file cannot be read or holds no token
 */
export async function readAdminToken(dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, secretFiles.adminToken)
  const text = await readSecret(path)
  return text === undefined ? undefined : checkAdminToken(text, path)
}

/** The sources of a server's secrets; absent secrets come from the data directory. */
export interface SecretSources {
  /** the directory of the files `admin-token` and `encryption-key`; made with mode 0700 if it is missing */
  dataDir: string
  /** 16 to 512 printable ASCII characters without spaces */
  adminToken?: string | undefined
  /** 32 bytes each; the first seals secrets, all open them */
  encryptionKeys?: Uint8Array[] | undefined
  /** set if the store is a PostgreSQL database: a data directory is made then only if a secret is missing */
  databaseUrl?: string | undefined
  /** receives a warning for each file that other users may read; default: no log */
  logger?: Logger | undefined
}

/** The secrets of a server, in the form in which `createBridgeServer` takes them as its `config`. */
export interface ServerSecrets {
  /** makes an admin of a peer that sends this token */
  adminToken: string
  /** 32 bytes each; the first seals secrets, all open them */
  encryptionKeys: Uint8Array[]
  /** changes the key in the data directory; undefined if the keys were given */
  rotateKeys?: RotateKeys
}

/**
 * Returns the secrets of a server: the given secrets, and the others from the data directory, where a first start makes
 * them. Call before the store in that directory is opened. Safe against concurrent processes and against `kill -9`: a
 * file is present whole or not at all, and is never replaced.
 * @throws RpcError `BAD_REQUEST` (config_invalid) if the directory or a file cannot be used, or if the directory has a
 *   database and no encryption key: a new key could not open the secrets under the old key
 */
export async function ensureSecrets(sources: SecretSources): Promise<ServerSecrets> {
  const { dataDir, adminToken, encryptionKeys, databaseUrl, logger = silentLogger } = sources
  if (adminToken !== undefined && encryptionKeys !== undefined && databaseUrl !== undefined) {
    return { adminToken, encryptionKeys }
  }
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw invalid(`--data ${JSON.stringify(dataDir)}: cannot be used: ${messageOf(error)}`, error)
  }
  const token = async () => adminToken ?? (await ensureAdminToken(dataDir, logger))
  if (encryptionKeys) return { adminToken: await token(), encryptionKeys }
  const ownKeys = await ensureEncryptionKeys(dataDir, logger)
  return { adminToken: await token(), encryptionKeys: ownKeys, rotateKeys: keyFileRotation(dataDir, ownKeys) }
}

/**
 * Changes the key in a server's data directory. The file holds `NEW,OLD` before the new key seals anything, and the new
 * key alone once the database on the disk holds nothing under the old one. The file is replaced as a whole, so that a
 * crash at any moment leaves one of the two forms; the next rotation then goes on with both keys.
 * @param keys the server's keys from the file
 */
export function keyFileRotation(dataDir: string, keys: readonly Uint8Array[]): RotateKeys {
  const path = join(dataDir, secretFiles.encryptionKey)
  let inUse = keys
  return async () => {
    await removeDrafts(dataDir)
    const text = await readSecret(path)
    // Secrets under the keys in use could not be opened with other keys.
    if (text === undefined || textOf(parseEncryptionKeys(text, path)) !== textOf(inUse)) {
      throw invalid(`${path}: was changed since the server has read it; restart the server`)
    }
    if (inUse.length === 1) {
      const both = [new Uint8Array(randomBytes(32)), ...inUse]
      await replaceSecret(path, textOf(both))
      inUse = both
    }
    const [first] = inUse
    if (!first) throw new Error('a server has a key')
    return {
      keys: inUse,
      async finish() {
        await syncFiles(join(dataDir, databaseName))
        await replaceSecret(path, textOf([first]))
        inUse = [first]
      },
    }
  }
}

function textOf(keys: readonly Uint8Array[]): string {
  return keys.map(key => Buffer.from(key).toString('base64')).join(',')
}

/**
 * Writes all files below a directory through to the disk, which the embedded database leaves to the operating system.
 */
async function syncFiles(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await syncFile(join(entry.parentPath, entry.name))
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r').catch((error: unknown) => {
    // The database removes files while it runs.
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  })
  try {
    await file?.sync()
  } finally {
    await file?.close()
  }
}

/** Drafts of a killed process hold keys. This process has the database, so no other process is writing. */
async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (/^encryption-key\.\d+\.[0-9a-f]{8}$/.test(name)) await rm(join(dataDir, name), { force: true })
  }
}

async function ensureEncryptionKeys(dataDir: string, logger: Logger): Promise<Uint8Array[]> {
  const path = join(dataDir, secretFiles.encryptionKey)
  let text = await readSecret(path, logger)
  if (text === undefined) {
    if (hasDatabase(dataDir)) {
      throw invalid(
        `${path}: missing, but ${join(dataDir, 'pg')} exists and may hold keys that it sealed; put the file back or set BRIDGE_ENCRYPTION_KEY`,
      )
    }
    text = await makeSecret(path, randomBytes(32).toString('base64'))
  }
  return parseEncryptionKeys(text, path)
}

async function ensureAdminToken(dataDir: string, logger: Logger): Promise<string> {
  const path = join(dataDir, secretFiles.adminToken)
  const text = (await readSecret(path, logger)) ?? (await makeSecret(path, randomBytes(32).toString('base64url')))
  return checkAdminToken(text, path)
}

async function readSecret(path: string, logger?: Logger): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    const mode = (await stat(path)).mode & 0o777
    if (logger && (mode & 0o077) !== 0) {
      logger.warn({ path, mode: mode.toString(8) }, `other users may read this secret: chmod 600 ${path}`)
    }
    return text.trim()
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENOTDIR')) return undefined
    throw invalid(`${path}: cannot be read: ${messageOf(error)}`, error)
  }
}

/** Creates the file and returns its content, which is another process's content if that process was first. */
async function makeSecret(path: string, content: string): Promise<string> {
  const draft = draftOf(path)
  try {
    await writeSecret(draft, content)
    // Unlike rename, link never replaces another process's file.
    await link(draft, path)
    return content
  } catch (error) {
    if (isCode(error, 'EEXIST')) return (await readFile(path, 'utf8')).trim()
    throw invalid(`${path}: cannot be written: ${messageOf(error)}`, error)
  } finally {
    await rm(draft, { force: true })
  }
}

/** Replaces the file as a whole. Resolves when the new content is on the disk. */
async function replaceSecret(path: string, content: string): Promise<void> {
  const draft = draftOf(path)
  try {
    await writeSecret(draft, content)
    await rename(draft, path)
    await syncFile(dirname(path))
  } catch (error) {
    await rm(draft, { force: true })
    throw invalid(`${path}: cannot be written: ${messageOf(error)}`, error)
  }
}

function draftOf(path: string): string {
  return `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
}

async function writeSecret(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(`${content}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
