/** Copies of the built program with a flaw, which show that the harness finds it. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { OffenceKind } from './offences.js'

/** A change of one compiled line. */
export interface LineChange {
  /** the compiled file, below dist/ */
  file: string
  /** matches once; the first group stays */
  line: RegExp
  replacement: string
}

/** A flaw of one compiled line. */
export interface Flaw extends LineChange {
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
export interface ChangedBuild {
  /** the path of its command line */
  commandLine: string
  remove(): Promise<void>
}

/** A copy of the program with a flaw. */
export interface PlantedBuild extends ChangedBuild {
  found: OffenceKind
}

/**
 * Copies the built program and changes one of its lines.
 * @throws Error for an unknown flaw, and if the line is not there exactly once
 */
export async function plantFlaw(name: string): Promise<PlantedBuild> {
  const { flaw } = await withFlaw(name)
  return { ...(await changedBuild([flaw])), found: flaw.found }
}

/**
 * Copies the built program and changes lines.
 * @throws Error if a line is not there exactly once
 */
export async function changedBuild(changes: readonly LineChange[]): Promise<ChangedBuild> {
  const directory = await mkdtemp(join(tmpdir(), 'planted-'))
  for (const part of ['dist/client', 'dist/server', 'dist/shared', 'package.json'])
    await cp(resolve(part), join(directory, part), { recursive: true })
  await symlink(resolve('node_modules'), join(directory, 'node_modules'))
  for (const change of changes) {
    const file = join(directory, 'dist', change.file)
    await writeFile(file, changed(await readFile(file, 'utf8'), change))
  }
  return {
    commandLine: join(directory, 'dist/server/cli.js'),
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
  return { flaw, planted: changed(await readFile(resolve('dist', flaw.file), 'utf8'), flaw) }
}

/** @throws Error if the line is not there exactly once */
function changed(code: string, { file, line, replacement }: LineChange): string {
  const places = code.match(line)?.length ?? 0
  if (places !== 1) throw new Error(`the line ${line} is ${places} times in ${file}`)
  return code.replace(line, replacement)
}
