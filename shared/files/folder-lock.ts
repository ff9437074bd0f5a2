/**
 * One process per folder, under a lock that never outlives its holder: the lock is a listening UNIX socket in the
 * folder, and the kernel stops responding for the socket the moment the process is gone. The lock holds across
 * containers that share the volume on one machine.
 *
 * Each process raises a flag, a socket file `lock-<pid>-<random>`, then looks at the flags of the others:
 *
 *     raise own flag ──▶ look ──▶ no other flag responds ──▶ holding
 *                         │  └──▶ a flag that is holding ──▶ lower own flag, fail with the holder's name
 *                         └─────▶ a flag that also looks ──▶ the smaller name waits and looks again, the larger
 *                                                            lowers its flag and starts anew
 *
 * Two processes cannot hold: each looked after raising its flag, so the later of the two saw the other's. No flag is
 * taken over, so no race exists about a take-over: a flag's name is never used again, and the file appears (by rename)
 * only when its socket listens already. A flag that rejects a connection therefore belongs to a dead process for good,
 * and any process may remove the file.
 */
import { rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { rpcError } from '../contract/error-reasons.js'
import type { RpcError } from '../rpc/errors.js'
import {
  askFlag,
  type Claim,
  type Flag,
  flagsIn,
  openForSockets,
  raiseFlag,
  removeUnfinished,
  type SocketDirectory,
} from './lock-flag.js'

/** Longest time for processes that start at the same moment to agree. */
const claimTimeoutMs = 30_000

/** A folder under this process's lock, until `release()` or the end of the process. */
export interface FolderLock {
  release(): Promise<void>
}

/**
 * Takes the lock of a folder.
 * @param what the folder in a message's words, for instance `data directory`
 * @throws PRECONDITION_FAILED `data_in_use`, naming the process that holds the lock
 */
export async function lockFolder(folder: string, what: string): Promise<FolderLock> {
  const deadline = Date.now() + claimTimeoutMs
  const directory = await openForSockets(folder)
  try {
    for (;;) {
      const flag = await raiseFlag(folder, directory)
      if (!flag) continue
      let winner: Claim | 'us'
      try {
        winner = await lookAround(folder, directory, flag, deadline)
      } catch (error) {
        await flag.lower()
        throw error
      }
      if (winner === 'us') return { release: flag.lower }
      await flag.lower()
      if (winner.holding || Date.now() > deadline) throw inUse(`${what} ${folder}`, winner)
      await delay(10 + Math.random() * 40)
    }
  } finally {
    await directory.handle.close()
  }
}

/** Returns the process that holds a folder at this moment; undefined if none does. */
export async function holderOf(folder: string): Promise<Claim | undefined> {
  const names = await flagsIn(folder)
  if (names.length === 0) return undefined
  const directory = await openForSockets(folder)
  try {
    for (const name of names) {
      const claim = await askFlag(directory, name)
      if (claim !== 'dead' && claim.holding) return claim
    }
    return undefined
  } finally {
    await directory.handle.close()
  }
}

/** The possible holder by the flags: this process, or the peer that responded. */
async function lookAround(
  folder: string,
  directory: SocketDirectory,
  own: Flag,
  deadline: number,
): Promise<Claim | 'us'> {
  for (;;) {
    const others = (await flagsIn(folder)).filter(name => name !== own.name)
    let candidates = 0
    for (const name of others) {
      const claim = await askFlag(directory, name)
      if (claim === 'dead') await rm(join(folder, name), { force: true })
      else if (claim.holding || name < own.name || Date.now() > deadline) return claim
      else candidates++
    }
    if (candidates === 0) {
      own.hold()
      await removeUnfinished(folder)
      return 'us'
    }
    await delay(10)
  }
}

function inUse(folder: string, { pid, host, command, since }: Claim): RpcError<'data_in_use'> {
  const where = host === hostname() ? '' : ` on ${host}`
  const details = [command, since && `since ${since}`].filter(Boolean).join(', ')
  return rpcError(
    'data_in_use',
    `${folder} is in use by process ${pid}${where}${details && ` (${details})`}; stop it first, or choose another directory`,
  )
}
