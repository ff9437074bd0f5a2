/** `aibridge chats new|send|watch`: a chat on a terminal, or as lines of JSON. */
import { randomUUID } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { BridgeClient } from '../../../client/bridge-client.js'
import type { ChatApi, ChatEvent, ChatMessage, ChatPart } from '../../../shared/contract/chats.js'
import { print, printJson, visible } from '../../process/output.js'
import { ExitWith } from './exit-with.js'
import { type UserOptions, withUser } from './user-client.js'

type ChatsClient = BridgeClient['chats']

/** Options of `chats new`. */
export interface NewChatOptions extends UserOptions {
  provider: string
  model?: string
  api?: ChatApi
  agent?: string
  cwd?: string
  system?: string
  title?: string
  watch: boolean
}

/** The model of the provider `demo`. */
const demoModel = 'demo'

/**
 * Begins a chat, and shows its first turn.
 * @throws ExitWith 1 if the turn fails
 */
export async function newChat(message: string | undefined, options: NewChatOptions): Promise<void> {
  const { provider, model = demoModel, api, agent, cwd, system, title, watch, json } = options
  const id = uuidv7()
  const optional = Object.entries({ api, agent, cwd, system, title }).filter(([, value]) => value !== undefined)
  await withUser(options, async client => {
    const chat = await client.create.mutate({
      id,
      provider,
      model,
      ...Object.fromEntries(optional),
      ...(message !== undefined && { message: { id: randomUUID(), parts: [{ type: 'text', text: message }] } }),
    })
    if (json) printJson(chat)
    else print(`chat ${id}`)
    if (watch && message !== undefined) await show(client, id, options, { isNew: true })
  })
}

/**
 * Sends a message, and shows the turn that answers it.
 * @throws ExitWith 1 if the turn fails
 */
export async function sendMessage(
  chatId: string,
  message: string,
  options: UserOptions & { interrupt?: boolean; watch: boolean },
): Promise<void> {
  const { interrupt = false, watch, json } = options
  await withUser(options, async client => {
    const parts = [{ type: 'text' as const, text: message }]
    const whenBusy = interrupt ? 'interrupt' : 'queue'
    const sent = await client.send.mutate({ chatId, id: randomUUID(), parts, whenBusy })
    if (json) printJson(sent)
    else if (sent.state === 'queued') print('the message waits for the running turn')
    const seq = sent.state === 'stored' ? sent.seq : undefined
    if (watch) await show(client, chatId, options, { isNew: false, ...(seq !== undefined && { after: seq }) })
  })
}

/**
 * Shows a chat from its beginning, or behind an event, until it is at rest.
 * @throws ExitWith 1 if its last turn has failed
 */
export async function watchChat(
  chatId: string,
  options: UserOptions & { follow?: boolean; since?: string },
): Promise<void> {
  await withUser(options, client => show(client, chatId, options, { isNew: false, after: 0 }))
}

interface ShowOptions {
  json?: boolean
  follow?: boolean
  since?: string
}

/** Shows the events of a chat. Messages up to `after` are not shown. */
async function show(
  client: ChatsClient,
  chatId: string,
  { json = false, follow = false, since }: ShowOptions,
  { after, isNew }: { after?: number; isNew: boolean },
): Promise<void> {
  const stop = new AbortController()
  // A reader that has gone, such as `head`, wants no more.
  const onGone = () => stop.abort()
  process.stdout.on('error', onGone)
  const printer = new MessagePrinter()
  const shownFrom = after ?? (isNew ? 1 : await lastSeq(client, chatId))
  let failure: string | undefined
  try {
    const input = { chatId, ...(since !== undefined && { lastEventId: since }) }
    for await (const { id, data: event } of client.watch.subscribe(input, { signal: stop.signal })) {
      if (json) printJson({ id, ...event })
      else if (event.kind !== 'message' || event.message.seq > shownFrom) printer.event(event)
      if (event.kind === 'error') failure = event.error?.reason
      if (event.kind === 'status' && !follow && isAtRest(event)) break
    }
  } finally {
    process.stdout.off('error', onGone)
    printer.end()
  }
  if (failure !== undefined) throw new ExitWith(1)
}

function isAtRest({ status }: Extract<ChatEvent, { kind: 'status' }>): boolean {
  return status === 'waiting' || status === 'error'
}

async function lastSeq(client: ChatsClient, chatId: string): Promise<number> {
  let last = 0
  for (let after: number | null = 0; after !== null; ) {
    const page: Awaited<ReturnType<typeof client.messages.query>> = await client.messages.query({ chatId, after })
    last = page.messages.at(-1)?.seq ?? last
    after = page.next
  }
  return last
}

/** Prints messages, and previews of the running response; a message that was previewed is not printed again. */
export class MessagePrinter {
  readonly #isTerminal = process.stdout.isTTY
  #preview: { index: number; type: string; text: string } | undefined
  #previewed = 0
  #isInLine = false

  event(event: ChatEvent): void {
    switch (event.kind) {
      case 'message_part':
        return this.#part(event.index, event.part)
      case 'preview_reset':
        if (this.#previewed > 0) this.#line(this.#dim('(the response begins anew)'))
        this.#preview = undefined
        this.#previewed = 0
        return
      case 'message':
        return this.message(event.message)
      case 'history_reset':
        return this.#line(this.#dim('(the chat was edited; it begins anew)'))
      case 'retry':
        if (event.retry)
          this.#line(this.#dim(`(${visible(event.retry.message)}; next try at ${event.retry.at.toISOString()})`))
        return
      case 'error':
        if (event.error) this.#line(`error: ${visible(event.error.message)} (${event.error.reason})`)
        return
    }
  }

  /** Prints a whole message, unless its parts were shown while they came. */
  message({ role, parts, interrupted }: ChatMessage): void {
    const wasShown = role !== 'user' && this.#previewed > 0
    if (!wasShown) for (const part of parts) this.#whole(role, part)
    else this.#line('')
    if (interrupted) this.#line(this.#dim('(interrupted)'))
    this.#preview = undefined
    this.#previewed = 0
  }

  /** Ends an open line. */
  end(): void {
    if (this.#isInLine) process.stdout.write('\n')
    this.#isInLine = false
  }

  #part(index: number, part: ChatPart): void {
    this.#previewed++
    if (part.type !== 'text' && part.type !== 'reasoning') return this.#whole('assistant', part)
    if (this.#preview?.index !== index) {
      this.end()
      this.#preview = { index, type: part.type, text: '' }
    }
    const text = lines(part.text)
    process.stdout.write(part.type === 'reasoning' ? this.#dim(text) : text)
    this.#isInLine = text !== '' ? !text.endsWith('\n') : this.#isInLine
  }

  #whole(role: ChatMessage['role'], part: ChatPart): void {
    switch (part.type) {
      case 'text':
        return this.#line(role === 'user' ? `> ${lines(part.text).replaceAll('\n', '\n> ')}` : lines(part.text))
      case 'reasoning':
        return this.#line(this.#dim(lines(part.text)))
      case 'tool-call':
        return this.#line(this.#dim(`[${visible(part.toolName)} ${visible(part.input)}]`))
      case 'tool-result':
        return this.#line(this.#dim(lines(part.output).trimEnd()))
      case 'file-reference':
        return this.#line(`> ${visible(part.name)}:${part.startLine}-${part.endLine}`)
      case 'source':
        return this.#line(this.#dim(`(${visible(part.url)})`))
    }
  }

  #line(text: string): void {
    this.end()
    if (text !== '') process.stdout.write(`${text}\n`)
  }

  #dim(text: string): string {
    return this.#isTerminal ? `\u001b[2m${text}\u001b[22m` : text
  }
}

/** Text of a model or a command over several lines, which must not steer the terminal. */
function lines(text: string): string {
  return text.split('\n').map(visible).join('\n')
}
