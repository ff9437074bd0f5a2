/** A chat as text for people. */
import type { ChatEvent, ChatMessage, ChatPart, MessageRole } from '../../../shared/contract/chats.js'
import { visible } from '../../process/output.js'

/** The stream of a {@link ChatPrinter}. */
export interface Output {
  write(text: string): void
  readonly isTTY?: boolean
}

type LiveRole = Extract<ChatEvent, { kind: 'message_part' }>['role']

/** A part of the running response that was printed. Text may be a beginning. */
interface Printed {
  role: LiveRole
  index: number
  part: ChatPart
}

/**
 * Prints each part of a chat once: as it streams, or with its message. A message that differs from the parts that
 * streamed is printed as a whole, because the message is the truth. On a terminal, thoughts and tools are dimmed; in a
 * pipe, thoughts are marked.
 */
export class ChatPrinter {
  readonly #out: Output
  /** of the running response, in the order of their beginnings */
  #printed: Printed[] = []
  /** the part whose text stands at the end of the output */
  #open: Printed | undefined
  #isInLine = false

  constructor(out: Output = process.stdout) {
    this.#out = out
  }

  /** Prints an event, if it shows something. */
  event(event: ChatEvent): void {
    switch (event.kind) {
      case 'message':
        return this.message(event.message)
      case 'message_part':
        return this.#livePart(event)
      case 'preview_reset':
        if (this.#printed.length > 0) this.#note('the response broke off')
        this.#forget()
        return
      case 'preview_cut':
        return this.#note('the rest of the response comes when it is whole')
      case 'history_reset':
        return this.#note('the chat was edited; it begins anew')
      case 'retry':
        if (event.retry) this.#note(`${visible(event.retry.message)}; next try at ${event.retry.at.toISOString()}`)
        return
      case 'error':
        if (event.error) this.#note(`the turn failed: ${visible(event.error.message)} (${event.error.reason})`)
        return
      case 'watching':
      case 'status':
      case 'queue_update':
        return
    }
  }

  /** Prints a message, without its parts that were printed before. */
  message({ role, parts, interrupted }: Pick<ChatMessage, 'role' | 'parts' | 'interrupted'>): void {
    const printed = this.#printed.filter(part => part.role === role)
    const rest = role === 'tool' ? restOfResults(parts, printed) : restOfResponse(parts, printed, this.#open)
    if (rest === undefined) this.#note('the message differs from the parts above')
    for (const { part, textBehind } of rest ?? parts.map((part): Rest => ({ part }))) {
      if (textBehind === undefined) this.#part(role, part)
      else this.#text(part, textBehind)
    }
    this.end()
    if (interrupted) this.#note('interrupted')
    this.#printed = this.#printed.filter(part => part.role !== role)
    this.#open = undefined
  }

  /** Ends an open line. */
  end(): void {
    if (this.#isInLine) this.#out.write('\n')
    this.#isInLine = false
  }

  #livePart({ role, index, part }: Extract<ChatEvent, { kind: 'message_part' }>): void {
    const open = this.#open
    if (isText(part) && open?.role === role && open.index === index && isText(open.part)) {
      open.part = { ...open.part, text: open.part.text + part.text }
      return this.#text(part, part.text)
    }
    const begun = { role, index, part }
    this.#printed.push(begun)
    this.#part(role, part)
    this.#open = isText(part) ? begun : undefined
  }

  #part(role: MessageRole, part: ChatPart): void {
    this.end()
    switch (part.type) {
      case 'text':
        if (role === 'user') return this.#line(indented('> ', part.text))
        return this.#text(part, part.text)
      case 'reasoning':
        return this.#text(part, this.#out.isTTY ? part.text : `(thought) ${part.text}`)
      case 'tool-call':
        return this.#line(this.#dim(`[${visible(part.toolName)}] ${visible(part.input)}`))
      case 'tool-result': {
        const kind = part.cancelled ? 'cancelled' : part.isError ? 'error' : 'result'
        return this.#line(
          this.#dim(`[${visible(part.toolName)} ${kind}]\n${indented('  ', part.output.replace(/\n$/, ''))}`),
        )
      }
      case 'file-reference':
        return this.#line(`> ${visible(part.name)}, lines ${part.startLine} to ${part.endLine}`)
      case 'source':
        return this.#line(this.#dim(`[source] ${visible(part.url)}`))
    }
  }

  #text({ type }: ChatPart, text: string): void {
    if (text === '') return
    const shown = visibleLines(text)
    this.#out.write(type === 'reasoning' ? this.#dim(shown) : shown)
    this.#isInLine = !shown.endsWith('\n')
  }

  #note(text: string): void {
    this.#line(this.#dim(`(${text})`))
  }

  #line(text: string): void {
    this.end()
    this.#out.write(`${text}\n`)
  }

  #dim(text: string): string {
    return this.#out.isTTY ? `\u001b[2m${text}\u001b[22m` : text
  }

  #forget(): void {
    this.#printed = []
    this.#open = undefined
  }
}

/** A part to print. `textBehind`: only that; the beginning stands at the end of the output. */
interface Rest {
  part: ChatPart
  textBehind?: string
}

/** Returns the parts of a response behind those that were printed; undefined if the printed ones are others. */
function restOfResponse(
  parts: readonly ChatPart[],
  printed: readonly Printed[],
  open: Printed | undefined,
): Rest[] | undefined {
  const before = printed.filter(({ part }) => !isText(part) || part.text !== '')
  if (before.length > parts.length) return undefined
  const rest: Rest[] = []
  for (const [place, part] of parts.entries()) {
    const shown = before[place]
    if (!shown) rest.push({ part })
    else if (isText(part) && shown === open && shown.part.type === part.type && part.text.startsWith(textOf(shown))) {
      const textBehind = part.text.slice(textOf(shown).length)
      if (textBehind !== '') rest.push({ part, textBehind })
    } else if (!isSame(part, shown.part)) return undefined
  }
  return rest
}

/** Returns the results that were not printed; undefined if a printed one is another. Results stream in any order. */
function restOfResults(parts: readonly ChatPart[], printed: readonly Printed[]): Rest[] | undefined {
  const isPrinted = (part: ChatPart) => printed.some(shown => isSame(part, shown.part))
  const rest = parts.filter(part => !isPrinted(part))
  return rest.length + printed.length === parts.length ? rest.map(part => ({ part })) : undefined
}

function isText(part: ChatPart): part is Extract<ChatPart, { text: string }> {
  return part.type === 'text' || part.type === 'reasoning'
}

function textOf({ part }: Printed): string {
  return isText(part) ? part.text : ''
}

function isSame(one: ChatPart, other: ChatPart): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function indented(mark: string, text: string): string {
  return `${mark}${visibleLines(text).replaceAll('\n', `\n${mark}`)}`
}

/** Text over several lines, whose other control characters must not steer the terminal. */
function visibleLines(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .split(/([\n\t])/)
    .map((piece, place) => (place % 2 === 1 ? piece : visible(piece)))
    .join('')
}
