/** Copies of the built program with a flaw, which show that the harness finds it. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { OffenceKind } from './offences.js'

/** A flaw of one compiled line. */
export interface Flaw {
  /** the compiled file, below dist/ */
  file: string
  /** matches once; the first group stays */
  line: RegExp
  replacement: string
  /** an offence that the flaw must lead to */
  found: OffenceKind
}

/** The flaws by name. */
export const flaws: Readonly<Record<string, Flaw>> = {
  /** The records of a response are not written before the client gets the last bytes. */
  'no-append': {
    file: 'client/bridge/outbox/journal-outbox.js',
    line: /(async #keep\([\s\S]{0,200}?)await this\.#journal\.put\(key, 'finished', text\);/g,
    replacement: '$1',
    found: 'incomplete',
  },
  /** Each sending of a record has another id. */
  'ids-at-sending': {
    file: 'client/bridge/outbox/delivery.js',
    line: /(await this\.#options\.send\()batch\.map\(entry => entry\.record\)/g,
    replacement: '$1batch.map(({ record }) => record.interceptionId ? { ...record, id: crypto.randomUUID() } : record)',
    found: 'twice',
  },
}

/** A copy of the program. */
export interface PlantedBuild {
  /** the path of its command line */
  commandLine: string
  found: OffenceKind
  remove(): Promise<void>
}

/**
 * Copies the built program and changes one of its lines.
 * @throws Error for an unknown flaw, and if the line is not there exactly once
 */
export async function plantFlaw(name: string): Promise<PlantedBuild> {
  const { flaw, planted } = await withFlaw(name)
  const directory = await mkdtemp(join(tmpdir(), 'planted-'))
  for (const part of ['dist/client', 'dist/server', 'dist/shared', 'package.json'])
    await cp(resolve(part), join(directory, part), { recursive: true })
  await symlink(resolve('node_modules'), join(directory, 'node_modules'))
  await writeFile(join(directory, 'dist', flaw.file), planted)
  return {
    commandLine: join(directory, 'dist/server/cli.js'),
    found: flaw.found,
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}

/**
 * Returns a flaw, and the text of its file with the flaw.
 * @throws as {@link plantFlaw}
 */
export async function withFlaw(name: string): Promise<{ flaw: Flaw; planted: string }> {
  const flaw = Object.hasOwn(flaws, name) ? flaws[name] : undefined
  if (!flaw) throw new Error(`no flaw is named ${name}; the flaws are ${Object.keys(flaws).join(', ')}`)
  const code = await readFile(resolve('dist', flaw.file), 'utf8')
  const places = code.match(flaw.line)?.length ?? 0
  if (places !== 1) throw new Error(`the line for the flaw ${name} is ${places} times in ${flaw.file}`)
  return { flaw, planted: code.replace(flaw.line, flaw.replacement) }
}
