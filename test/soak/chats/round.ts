/** One life of three replicas: chats with writers and watchers, strikes, and the comparison of the accounts. */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { ChatMessage } from '../../../shared/contract/chats.js'
import { Choice } from '../transport/choice.js'
import type { Accounts, ChatAccount, StoredChat, WatchAccount } from './accounts.js'
import { offencesOf } from './judge.js'
import type { Offence } from './offence.js'
import type { Place, Replica } from './place.js'
import { ChatProvider } from './provider.js'
import { watch } from './watcher.js'
import { write } from './writer.js'

/** Options of {@link runRound}. */
export interface RoundOptions {
  seed: number
  /** Opens the servers. */
  open(choice: Choice): Promise<Place>
  chats: number
  messages: number
  watchers: number
  /** the round goes on until so many strikes were made */
  strikes: number
  /** share of turns with a command that ends only with its turn; default 0.15 */
  longShare?: number
  /** how long leases last in this build */
  leaseMs: number
}

/** What a round has shown. */
export interface RoundReport {
  accounts: Accounts
  offences: readonly Offence[]
  kills: number
  freezes: number
  /** strikes while a response of the provider was under way, or a command ran */
  hits: number
}

/** An agent that lost its server is back by then, and the commands of ended turns are dead. */
const orphanMs = 40_000

/** Runs a round. The seed decides about messages, responses and strikes; what they meet depends on the machine. */
export async function runRound(options: RoundOptions): Promise<RoundReport> {
  const choice = new Choice(options.seed)
  const { longShare = 0.15 } = options
  const deployment = await options.open(new Choice(options.seed + 1))
  let provider: ChatProvider | undefined
  try {
    const events = new Events()
    provider = await ChatProvider.start({
      choice: new Choice(options.seed + 2),
      runsFile: deployment.runsFile,
      onEvent: () => events.note(),
    })
    const { key } = await deployment.start(provider.url)
    const clients = deployment.replicas.map(({ name }) => ({ name, client: deployment.client(name, key) }))
    const chats: ChatAccount[] = []
    const watches: WatchAccount[] = []
    const watching: { chatId: string; watcher: ReturnType<typeof watch> }[] = []
    let isStruck = false
    const writing: Promise<void>[] = []
    /** A chat with its watchers, from its first message to its rest. */
    async function converse(load: { messages: number; longShare: number }): Promise<void> {
      const number = chats.length
      const chat: ChatAccount = { id: randomUUID(), tag: `chat-${number}`, sent: [], wasInterrupted: false, cuts: [] }
      chats.push(chat)
      for (let index = 0; index < options.watchers; index++) {
        const account: WatchAccount = { chatId: chat.id, events: [] }
        watches.push(account)
        const seed = options.seed * 31 + number * 7 + index
        watching.push({ chatId: chat.id, watcher: watch(account, clients, new Choice(seed)) })
      }
      const own = new Choice(options.seed * 17 + number)
      const restTimeoutMs = 90_000 + 6 * options.leaseMs
      await write({ choice: own, clients: clients.map(({ client }) => client), chat, restTimeoutMs, ...load })
    }

    async function lane(): Promise<void> {
      // Chats go on until the strikes are over.
      for (let turn = 0; turn === 0 || !isStruck; turn++) await converse({ messages: options.messages, longShare })
    }

    for (let left = options.chats; left > 0; left--) writing.push(lane())
    const striking = strike(deployment, events, choice, options)
    const failure = await Promise.race([
      Promise.all(writing).then(() => undefined),
      striking.then(() => undefined),
    ]).catch((error: unknown) => error)
    const { strikes, killedAt, ...struck } = await striking
    isStruck = true
    const written = await Promise.allSettled(writing)
    // Without strikes, every command ends with its turn.
    written.push(...(await Promise.allSettled([converse({ messages: 1, longShare: 1 })])))
    const stuck = [failure, ...written.map(result => (result.status === 'rejected' ? result.reason : undefined))]
    const running = await deployment.running(orphanMs)
    const admin = deployment.client('a')
    const stored = new Map<string, StoredChat>()
    for (const { id } of chats) stored.set(id, await readChat(admin, id))
    await Promise.all(
      watching.map(({ chatId, watcher }) => watcher.stop(stored.get(chatId)?.messages.at(-1)?.seq ?? 0, 20_000)),
    )
    const interceptions = await readInterceptions(admin)
    const accounts: Accounts = {
      chats,
      calls: provider.calls,
      rejections: provider.rejections,
      strikes,
      kills: killedAt,
      runs: await deployment.runs(),
      running,
      watches,
      stored,
      interceptions,
    }
    return {
      accounts,
      ...struck,
      offences: [
        ...deployment.offences,
        ...stuck.flatMap(error =>
          error === undefined ? [] : [{ kind: 'stuck', tag: 'round', detail: String(error) } as const],
        ),
        ...offencesOf(accounts),
      ],
    }
  } finally {
    await deployment.close()
    await provider?.close()
  }
}

/** The events of responses, for strikes in their middle. */
class Events {
  readonly #waiting = new Set<() => void>()

  note(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }

  /** Resolves at the next event of any response, or after a time. Returns whether it was an event. */
  async next(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>(resolve => {
      timer = setTimeout(() => resolve(false), timeoutMs)
    })
    const event = new Promise<boolean>(resolve => this.#waiting.add(() => resolve(true)))
    const isEvent = await Promise.race([event, late])
    clearTimeout(timer)
    return isEvent
  }
}

/** Kills one replica after another, or stops it for longer than its lease, while another one goes on. */
async function strike(
  deployment: Place,
  events: Events,
  choice: Choice,
  { strikes, leaseMs }: RoundOptions,
): Promise<{ kills: number; freezes: number; hits: number; strikes: number[]; killedAt: number[] }> {
  const made = { kills: 0, freezes: 0, hits: 0, strikes: [] as number[], killedAt: [] as number[] }
  for (let left = strikes; left > 0; left--) {
    if (await events.next(3_000)) made.hits++
    await pause(choice.below(60))
    const victim: Replica = choice.pick(deployment.replicas)
    made.strikes.push(performance.now())
    if (choice.chance(0.6)) {
      made.kills++
      made.killedAt.push(performance.now())
      await victim.kill()
      await pause(choice.below(leaseMs))
      await deployment.up(victim)
    } else {
      made.freezes++
      victim.freeze()
      await pause(leaseMs + choice.below(leaseMs))
      victim.thaw()
    }
    await pause(choice.below(leaseMs / 2))
  }
  return made
}

async function readChat({ chats }: BridgeClient, chatId: string): Promise<StoredChat> {
  const { status, lastError, queue } = await chats.get.query({ chatId })
  const messages: ChatMessage[] = []
  for (let after: number | null = 0; after !== null; ) {
    const page: { messages: ChatMessage[]; next: number | null } = await chats.messages.query({ chatId, after })
    messages.push(...page.messages)
    after = page.next
  }
  return {
    status,
    lastError: lastError && `${lastError.reason}: ${lastError.message}`,
    queueLength: queue.length,
    messages,
  }
}

/** Returns the output tokens of each recorded interception. */
async function readInterceptions({ admin }: BridgeClient): Promise<Map<string, number>> {
  const tokens = new Map<string, number>()
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<typeof admin.interceptions.list.query>> = await admin.interceptions.list.query({
      limit: 200,
      ...(cursor !== null && { cursor }),
    })
    for (const { id } of page.interceptions) {
      const { tokenUsages } = await admin.interceptions.get.query({ id })
      tokens.set(
        id,
        tokenUsages.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
      )
    }
    cursor = page.nextCursor
  } while (cursor !== null)
  return tokens
}
