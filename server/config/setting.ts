/** One setting of a command, and the kinds of values that settings take. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'

/**
 * The one declaration of a setting, from which the option of the command line, the help, the check, `config check` and
 * docs/configuration.md are made. The setting's key in the table of its command is the name in the configuration file,
 * and in kebab case the flag.
 */
export interface Setting<S extends z.ZodType = z.ZodType> {
  /** accepts the text of a flag or variable, or undefined; the schema's default is the setting's default */
  schema: S
  /** the schema in words: `a whole number from 1 to 65535` */
  accepts: string
  /** environment variables of the setting; the first non-empty variable wins */
  variables: readonly string[]
  /**
   * `value`: the word for the value in the help, as in `--port <port>`; `switch`: `--name` means true; `negated`:
   * `--no-name` means false; `none`: no flag, because other users of the machine see flags
   */
  flag: Flag
  /** meaning, for the help and the docs, which add the variables and the default */
  help: string
  /** the effect of an unset setting whose schema has no default */
  unset?: string
  /**
   * true: the value is never shown; `unchecked`: only a value that passed the check is shown, because people put
   * secrets into this setting by mistake
   */
  secret?: true | 'unchecked'
}

/** The form of a setting on the command line; see {@link Setting.flag}. */
export type Flag = { value: string } | 'switch' | 'negated' | 'none'

/** The settings of one command by their names. */
export type Settings = Readonly<Record<string, Setting>>

/** The values of settings after their check. */
export type Values<S extends Settings> = { [K in keyof S]: z.output<S[K]['schema']> }

/** Returns the flag of a setting: `--log-level` for `logLevel`, `--no-content` for a negated `content`. */
export function flagOf(name: string, flag?: Flag): string {
  const kebab = name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
  return flag === 'negated' ? `--no-${kebab}` : `--${kebab}`
}

/** Returns a setting's default for readers, with `~` for the home directory; undefined without a default. */
export function defaultOf({ schema, unset }: Setting): string | undefined {
  const { success, data } = schema.safeParse(undefined)
  if (!success || data === undefined || (Array.isArray(data) && data.length === 0)) return unset
  const text = String(data)
  return text.startsWith(`${homedir()}/`) ? `~${text.slice(homedir().length)}` : text
}

/** A kind of value: the schema, and the same in words. */
export interface Kind<S extends z.ZodType> {
  schema: S
  accepts: string
}

/** Returns the kind with a default. */
export function preset<S extends z.ZodType>({ schema, accepts }: Kind<S>, value: z.output<S>): Kind<z.ZodDefault<S>> {
  // Zod's type excludes undefined, which is no output of a setting's schema.
  return { schema: schema.default(value as z.util.NoUndefined<z.output<S>>), accepts }
}

/** Returns the kind for a setting that may stay unset. */
export function optional<S extends z.ZodType>({ schema, accepts }: Kind<S>): Kind<z.ZodOptional<S>> {
  return { schema: schema.optional(), accepts }
}

/** Returns the kind of whole numbers within bounds, written as digits. */
export function wholeNumber(min: number, max: number) {
  const accepts = `a whole number from ${min} to ${max}`
  const schema = z
    .string()
    .regex(/^\d{1,10}$/, `must be ${accepts}`)
    .transform(Number)
    .refine(value => value >= min && value <= max, `must be ${accepts}`)
  return { schema, accepts }
}

/** Returns the kind of texts that are one of these words. */
export function oneOf<const W extends readonly [string, ...string[]]>(words: W) {
  const accepts = words.length === 2 ? words.join(' or ') : `one of ${words.join(', ')}`
  return { schema: z.enum(words, `must be ${accepts}`), accepts }
}

/** Returns the kind of texts for which `isGood` returns true. */
export function text(accepts: string, isGood: (text: string) => boolean, problem = `must be ${accepts}`) {
  return { schema: z.string().refine(isGood, problem), accepts }
}

/**
 * Returns the kind of lists of texts for which `isGood` returns true, with commas between them; a configuration file
 * may also hold an array of texts.
 * @param each one text in words: `an origin`
 */
export function listOf(each: string, isGood: (text: string) => boolean) {
  const accepts = `${each}, or several with commas between them`
  const schema = z.string().transform((text, context) => {
    const items = itemsOf(text)
    const wrong = items.find(item => !isGood(item))
    if (wrong !== undefined) context.addIssue({ code: 'custom', message: `${JSON.stringify(wrong)} is not ${each}` })
    return items
  })
  return { schema, accepts }
}

function itemsOf(text: string): string[] {
  const list = text.trim().startsWith('[') ? text.replace(/^\s*\[|\]\s*$/g, '').replaceAll('"', '') : text
  return list
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '')
}

/**
 * Returns the kind of secret texts for which `problemOf` returns no problem. A problem is an error message, without the
 * secret.
 */
export function secretText(accepts: string, problemOf: (text: string) => string | undefined) {
  const schema = z.string().superRefine((text, context) => {
    const problem = problemOf(text)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })
  return { schema, accepts }
}

/** The kind of paths. A relative path begins at the working directory. */
export const path = { schema: z.string().min(1, 'must not be empty').transform(absolutePath), accepts: 'a path' }

/** The kind of paths where the word `none` stands for no path. */
export const pathOrNone = {
  schema: z
    .string()
    .min(1, 'must not be empty')
    .transform(text => (text === 'none' ? text : absolutePath(text))),
  accepts: 'a path, or none',
}

/** Returns an absolute path. A leading tilde is the home directory: a shell leaves the tilde of `--data=~/x` alone. */
export function absolutePath(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : resolve(path)
}
