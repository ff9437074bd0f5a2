/** The one tool call that the stand-in asks for, in the terms of whichever tools a client offers. */
import { isPlainObject, type JsonObject, type JsonValue } from '../../shared/values/text.js'

/** A tool as a client declares it. */
export interface Tool {
  name: string
  /** JSON schema of its input */
  schema: JsonObject
}

export interface Call {
  name: string
  input: JsonObject
}

/** File in the client's working directory that holds the secret. */
export const noteName = 'note.txt'

/** Tools that run a command or read a file, in order of preference: a shell takes a relative path in every client. */
const suitable = [
  /^(bash|shell|shell_command|exec_command|run_shell_command|run_commands?|execute_command)$/i,
  /^(read|read_file|view|readfile|developer__shell|read_note)$/i,
]

/** Returns a call that prints the note; undefined if no tool is suitable. */
export function callFor(tools: readonly Tool[]): Call | undefined {
  for (const pattern of suitable) {
    const tool = tools.find(({ name }) => pattern.test(name))
    if (tool) return { name: tool.name, input: inputFor(tool.schema) }
  }
  return undefined
}

function inputFor({ properties, required }: JsonObject): JsonObject {
  const input: JsonObject = {}
  for (const [name, schema] of Object.entries(isPlainObject(properties) ? properties : {})) {
    const { type } = isPlainObject(schema) ? schema : {}
    const value = valueFor(name, type, Array.isArray(required) && required.includes(name))
    if (value !== undefined) input[name] = value
  }
  return input
}

function valueFor(name: string, type: unknown, required: boolean): JsonValue | undefined {
  if (name === 'commands') return [`cat ${noteName}`]
  if (/^(command|cmd)$/.test(name)) return type === 'array' ? ['cat', noteName] : `cat ${noteName}`
  if (/^(file_?path|absolute_path|path|target_file)$/i.test(name)) return noteName
  if (!required) return undefined
  if (type === 'boolean') return false
  if (type === 'number' || type === 'integer') return 10_000
  return type === 'array' ? [] : 'reads the note'
}
