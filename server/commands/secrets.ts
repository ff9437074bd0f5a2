/** The secrets in the data directory: each is a file of one line that only its owner may read, made once. */
import { randomBytes } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { access, link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../../shared/log.js'
import { checkAdminToken, invalid, parseEncryptionKeys, type ServeConfig } from '../config.js'

/** The files' names in the data directory. */
export const secretFiles = { adminToken: 'admin-token', encryptionKey: 'encryption-key' } as const

/** Whether a server has stored anything in this directory. */
export function hasDatabase(dataDir: string): boolean {
  return existsSync(join(dataDir, 'pg'))
}

/**
 * The admin token in the data directory; undefined if there is none.
 * @throws RpcError `BAD_REQUEST` (config_invalid) if the file cannot be read or holds no token
 */
export async function readAdminToken(dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, secretFiles.adminToken)
  const text = await readSecret(path)
  return text === undefined ? undefined : checkAdminToken(text, path)
}

/**
 * The secrets of `serve`, from the configuration or from the data directory, where they are made if this is a first start. Safe against
 * other processes that do the same and against `kill -9`: a file is there whole or not at all, and is never replaced.
 * A database without its encryption key is refused, because a new key could not open what the old one sealed.
 * @throws RpcError `BAD_REQUEST` (config_invalid)
 */
export async function ensureSecrets(
  config: ServeConfig,
  logger: Logger,
): Promise<{ adminToken: string; encryptionKeys: Uint8Array[] }> {
  const { dataDir } = config
  if (config.databaseUrl !== undefined && config.encryptionKeys === undefined) {
    throw invalid(
      'BRIDGE_ENCRYPTION_KEY: is missing; with an external database every server must be given the same key, for instance one from: openssl rand -base64 32',
    )
  }
  if (config.adminToken !== undefined && config.encryptionKeys !== undefined && config.databaseUrl !== undefined) {
    return { encryptionKeys: config.encryptionKeys, adminToken: config.adminToken }
  }
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw invalid(`--data ${JSON.stringify(dataDir)}: cannot be used: ${messageOf(error)}`, error)
  }
  return {
    encryptionKeys: config.encryptionKeys ?? (await ensureEncryptionKeys(dataDir, logger)),
    adminToken: config.adminToken ?? (await ensureAdminToken(dataDir, logger)),
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

/** Makes the file and answers its content, which is another process's if that one was first. */
async function makeSecret(path: string, content: string): Promise<string> {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(`${content}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    // Unlike rename, link never replaces what another process has made in the meantime.
    await link(draft, path)
    return content
  } catch (error) {
    if (isCode(error, 'EEXIST')) return (await readFile(path, 'utf8')).trim()
    throw invalid(`${path}: cannot be written: ${messageOf(error)}`, error)
  } finally {
    await rm(draft, { force: true })
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
