/**
 * The elements `<tag>…</tag>` that AI clients put around the user's words: reminders, dates, facts about the working
 * directory. Every text is read a fixed number of times, whatever its size and nesting, and only so many tags of it.
 */

/**
 * Tags that no user writes, in lower case. A tag that a user's own program may write as well (`context`, `task`,
 * `rules`) stands in {@link frameTags}, for its client only.
 */
const clientTags: readonly string[] = [
  // Claude Code, OpenCode, Qwen Code, droid; with an underscore Copilot CLI, Crush and Cursor.
  'system-reminder',
  'system_reminder',
  'system-notification',
  'system_notification',
  // Claude Code
  'task-notification',
  'local-command-caveat',
  'local-command-stdout',
  'local-command-stderr',
  'bash-stdout',
  'bash-stderr',
  'ide_opened_file',
  'ide_selection',
  'ide_diagnostics',
  'new-diagnostics',
  'user-prompt-submit-hook',
  'session-start-hook',
  // Codex
  'environment_context',
  'user_instructions',
  'turn_aborted',
  'subagent_notification',
  'skills_instructions',
  'recommended_plugins',
  'collaboration_mode',
  'codex_internal_context',
  'goal_context',
  // Copilot CLI and VS Code
  'current_datetime',
  'reminderinstructions',
  'editorcontext',
  'environment_info',
  'workspace_info',
  // Cline, Roo Code, Kilo Code
  'environment_details',
  'explicit_instructions',
  // goose
  'turn-context',
  'info-msg',
  // Gemini CLI, Qwen Code
  'session_context',
  // Cursor
  'additional_data',
  'open_and_recently_viewed_files',
  'project_layout',
]

/** The further elements of one client: those that hold its own text, and those that hold the user's words. */
interface FrameTags {
  own: readonly string[]
  words: readonly string[]
}

const cline: FrameTags = {
  own: ['file_content', 'task_progress'],
  words: ['task', 'user_message', 'feedback', 'answer'],
}

/** Client → its further elements, in lower case. */
const frameTags: Readonly<Record<string, FrameTags>> = {
  Cline: cline,
  'Roo Code': cline,
  'Kilo Code': cline,
  Cursor: {
    own: ['user_info', 'git_status', 'rules', 'agent_skills', 'attached_files', 'timestamp'],
    words: ['user_query'],
  },
  'GitHub Copilot (VS Code)': {
    own: ['attachments', 'context', 'repocontext', 'toolreferences', 'user_memory', 'usermemory'],
    words: ['userrequest', 'user_query'],
  },
  Zed: { own: ['context'], words: [] },
}

interface Frame {
  /** the tags of all elements that hold the client's text */
  pattern: RegExp
  words: readonly string[]
}

const noFrame = frameWith({ own: [], words: [] })
const frames = new Map(Object.entries(frameTags).map(([client, tags]) => [client, frameWith(tags)]))

function frameWith({ own, words }: FrameTags): Frame {
  return { pattern: patternOf([...clientTags, ...own]), words }
}

/** Attributes are bounded, so that a text of many `<` is read in linear time. */
function patternOf(names: readonly string[]): RegExp {
  return new RegExp(`<(/?)(${names.join('|').replaceAll('.', '\\.')})(?:\\s[^<>]{0,512})?>`, 'gi')
}

/** A text without the client's elements at its ends. */
export interface Unframed {
  /** the text between the elements, without the blanks at a cut end; empty if nothing else is left */
  words: string
  /** set if the client marks the words as the user's */
  isMarked: boolean
}

/** Cuts leading and trailing elements of the client off a text. A text without any stays as it is. */
export function unframe(text: string, client: string | undefined): Unframed {
  const frame = frameOf(client)
  const words = cut(text, frame.pattern)
  const marked = frame.words.length === 0 ? undefined : wholeElement(words)
  if (!marked || !frame.words.includes(marked.tag)) return { words, isMarked: false }
  return { words: marked.inside.trim(), isMarked: true }
}

/** Returns whether the text is one element from its first to its last character, with any tag. */
export function isOneElement(text: string): boolean {
  return wholeElement(text) !== undefined
}

function frameOf(client: string | undefined): Frame {
  return (client === undefined ? undefined : frames.get(client)) ?? noFrame
}

interface Tag {
  from: number
  to: number
  name: string
  isClosing: boolean
}

/**
 * More than any client writes; a text with more is left as it is, because its author wants to keep the process busy.
 */
const maxTags = 10_000

/** Returns the tags of a text; undefined if there are too many. */
function tagsOf(text: string, pattern: RegExp): Tag[] | undefined {
  const tags: Tag[] = []
  for (const match of text.matchAll(pattern)) {
    if (tags.length === maxTags) return undefined
    const [all, slash, name = ''] = match
    tags.push({
      from: match.index,
      to: match.index + all.length,
      name: name.toLowerCase(),
      isClosing: slash === '/',
    })
  }
  return tags
}

function cut(text: string, pattern: RegExp): string {
  let from = text.length - text.trimStart().length
  let to = text.trimEnd().length
  if (text[from] !== '<' && text[to - 1] !== '>') return text
  const tags = tagsOf(text, pattern)
  if (!tags) return text
  const partners = partnersOf(tags)
  const opening = new Map(tags.flatMap((tag, at) => (tag.isClosing ? [] : [[tag.from, partners[at]]])))
  const closing = new Map(tags.flatMap((tag, at) => (tag.isClosing ? [[tag.to, partners[at]]] : [])))
  let isCut = false
  for (let end = opening.get(from)?.to; end !== undefined && end <= to; end = opening.get(from)?.to) {
    from = afterBlanks(text, end)
    isCut = true
  }
  if (!isCut) from = 0
  let isCutBehind = false
  for (let start = closing.get(to)?.from; start !== undefined && start >= from; start = closing.get(to)?.from) {
    to = beforeBlanks(text, start)
    isCutBehind = true
  }
  if (!isCutBehind) to = text.length
  return from < to ? text.slice(from, to) : ''
}

/**
 * Returns the partner of each tag. Nested elements of one name close in their order. A tag without a partner, as where
 * a reminder quotes its own tag, gets the nearest tag of the other kind.
 */
function partnersOf(tags: readonly Tag[]): (Tag | undefined)[] {
  const partners: (Tag | undefined)[] = tags.map(() => undefined)
  const open = new Map<string, number[]>()
  const newestOpening = new Map<string, Tag>()
  for (const [at, tag] of tags.entries()) {
    const waiting = open.get(tag.name) ?? []
    open.set(tag.name, waiting)
    if (!tag.isClosing) {
      waiting.push(at)
      newestOpening.set(tag.name, tag)
      continue
    }
    const partner = waiting.pop()
    partners[at] = partner === undefined ? newestOpening.get(tag.name) : tags[partner]
    if (partner !== undefined) partners[partner] = tag
  }
  const nextClosing = new Map<string, Tag>()
  for (let at = tags.length - 1; at >= 0; at--) {
    const tag = tags[at]
    if (tag?.isClosing) nextClosing.set(tag.name, tag)
    else if (tag) partners[at] ??= nextClosing.get(tag.name)
  }
  return partners
}

function afterBlanks(text: string, at: number): number {
  let end = at
  while (end < text.length && isBlank(text.charCodeAt(end))) end++
  return end
}

function beforeBlanks(text: string, at: number): number {
  let start = at
  while (start > 0 && isBlank(text.charCodeAt(start - 1))) start--
  return start
}

function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === 0xa0 || code === 0xfeff
}

/** Returns the element that the text is, apart from blanks; undefined if the text is not exactly one element. */
function wholeElement(text: string): { tag: string; inside: string } | undefined {
  const from = afterBlanks(text, 0)
  const to = beforeBlanks(text, text.length)
  if (text[from] !== '<' || text[to - 1] !== '>') return undefined
  const [, name] = firstTag.exec(text.slice(from, from + 600)) ?? []
  if (name === undefined) return undefined
  let depth = 0
  let start = 0
  for (const tag of tagsOf(text, patternOf([name])) ?? []) {
    if (tag.from === from) start = tag.to
    depth += tag.isClosing ? -1 : 1
    if (depth > 0) continue
    return tag.to === to ? { tag: tag.name, inside: text.slice(start, tag.from) } : undefined
  }
  return undefined
}

/** The tag at the beginning of an element, with bounded attributes. */
const firstTag = /^<([A-Za-z][A-Za-z0-9_.:-]{0,63})(?:\s[^<>]{0,512})?>/
