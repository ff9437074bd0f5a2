/** One setting of a command, and the kinds of values that settings take. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from 'zod'

/**
 * The one declaration of a setting. The command line's option, the help, the check, `config check` and docs/configuration.md are made from it.
 * The key of a setting in its command's table is its name in the configuration file, and in kebab case its flag.
 */
export interface Setting<S extends z.ZodType = z.ZodType> {
  /** takes the text of a flag or variable, or undefined; its default is the setting's */
  schema: S
  /** the schema in words: `a whole number from 1 to 65535` */
  accepts: string
  /** environment variables that hold the setting; the first one that is set wins */
  variables: readonly string[]
  /** a word: the value in `--port <word>`; `switch`: `--name` means true; `negated`: `--no-name` means false; none: other users of a machine see flags */
  flag: Flag
  /** the setting's purpose, in words for help and docs; its variables and its default are added */
  help: string
  /** what happens while the setting is not set, where the schema has no default */
  unset?: string
  /** true: the value is never shown; `unchecked`: only a value that passed the check is shown, because people put secrets here by mistake */
  secret?: true | 'unchecked'
}

/** How a setting stands on the command line; see {@link Setting.flag}. */
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

/** Returns a setting's default as a reader sees it; undefined if there is none. The home directory is `~`. */
export function defaultOf({ schema, unset }: Setting): string | undefined {
  const { success, data } = schema.safeParse(undefined)
  if (!success || data === undefined) return unset
  const text = String(data)
  return text.startsWith(`${homedir()}/`) ? `~${text.slice(homedir().length)}` : text
}

/** A kind of value: its schema, and the same in words. */
export interface Kind<S extends z.ZodType> {
  schema: S
  accepts: string
}

/** Returns the kind with a default. */
export function preset<S extends z.ZodType>({ schema, accepts }: Kind<S>, value: z.output<S>): Kind<z.ZodDefault<S>> {
  // Zod's type leaves out undefined, which no kind of setting gives.
  return { schema: schema.default(value as z.util.NoUndefined<z.output<S>>), accepts }
}

/** Returns the kind for a setting that need not be set. */
export function optional<S extends z.ZodType>({ schema, accepts }: Kind<S>): Kind<z.ZodOptional<S>> {
  return { schema: schema.optional(), accepts }
}

/** A whole number within bounds, as digits. */
export function wholeNumber(min: number, max: number) {
  const accepts = `a whole number from ${min} to ${max}`
  const schema = z
    .string()
    .regex(/^\d{1,10}$/, `must be ${accepts}`)
    .transform(Number)
    .refine(value => value >= min && value <= max, `must be ${accepts}`)
  return { schema, accepts }
}

/** One of some words. */
export function oneOf<const W extends readonly [string, ...string[]]>(words: W) {
  const accepts = words.length === 2 ? words.join(' or ') : `one of ${words.join(', ')}`
  return { schema: z.enum(words, `must be ${accepts}`), accepts }
}

/** A text that matches a pattern, or passes a check. */
export function text(accepts: string, isGood: (text: string) => boolean, problem = `must be ${accepts}`) {
  return { schema: z.string().refine(isGood, problem), accepts }
}

/** A secret text. The problem that `problemOf` finds is the error message, and must not show the secret. */
export function secretText(accepts: string, problemOf: (text: string) => string | undefined) {
  const schema = z.string().superRefine((text, context) => {
    const problem = problemOf(text)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })
  return { schema, accepts }
}

/** A path; relative ones begin at the working directory. */
export const path = { schema: z.string().min(1, 'must not be empty').transform(absolutePath), accepts: 'a path' }

/** Makes a path absolute. A tilde at its begin is the home directory: a shell leaves the one in `--data=~/x` alone. */
export function absolutePath(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : resolve(path)
}
