/** A Dockerfile without Docker: its stages become directories, and its commands run there. */
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** One instruction, its continued lines joined. */
export interface Instruction {
  name: string
  /** what follows the name, options excluded */
  value: string
  /** `--from=build` as `from` → `build` */
  options: ReadonlyMap<string, string>
}

/** The instructions between one FROM and the next. */
export interface Stage {
  /** as in `FROM image AS name` */
  name: string | undefined
  instructions: Instruction[]
}

/** Reads a Dockerfile. */
export function parseDockerfile(text: string): Stage[] {
  const lines = text
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  const stages: Stage[] = []
  for (const line of lines) {
    const [, name = '', options = '', value = ''] = /^([A-Z]+)((?: --[a-z-]+=\S+)*) *(.*)$/.exec(line) ?? []
    if (name === 'FROM') stages.push({ name: / AS (\S+)$/.exec(value)?.[1], instructions: [] })
    const pairs = [...options.matchAll(/--([a-z-]+)=(\S+)/g)].map(([, key = '', option = '']) => [key, option] as const)
    stages.at(-1)?.instructions.push({ name, value, options: new Map(pairs) })
  }
  return stages
}

/** The values of all instructions of a name, in their order. */
export function valuesOf(stage: Stage, name: string): string[] {
  return stage.instructions.filter(instruction => instruction.name === name).map(({ value }) => value)
}

/** The paths of the build's context that a stage copies, and those of other stages. */
export function copiesOf(stage: Stage): { from: string | undefined; sources: string[]; target: string }[] {
  return stage.instructions
    .filter(({ name }) => name === 'COPY')
    .map(({ value, options }) => {
      const paths = value.split(/ +/)
      return { from: options.get('from'), sources: paths.slice(0, -1), target: paths.at(-1) ?? '' }
    })
}

/**
 * Makes the directories of all stages below `root`, in the order of the file, and returns the last one. A stage's
 * WORKDIR is the directory `work` in it.
 * @param command runs what a RUN says, in the stage's WORKDIR
 */
export async function buildStages(
  stages: readonly Stage[],
  { context, root, command }: { context: string; root: string; command(line: string, cwd: string): Promise<unknown> },
): Promise<string> {
  const directories = new Map<string, string>()
  let work = ''
  for (const [index, stage] of stages.entries()) {
    const directory = join(root, String(index))
    if (stage.name !== undefined) directories.set(stage.name, directory)
    const workdir = valuesOf(stage, 'WORKDIR')[0] ?? '/'
    work = join(directory, workdir)
    await mkdir(work, { recursive: true })
    const copies = copiesOf(stage).values()
    for (const { name, value } of stage.instructions) {
      if (name === 'RUN') await command(value, work)
      if (name !== 'COPY') continue
      const copy = copies.next().value
      if (!copy) continue
      const { from, sources, target } = copy
      const source = from === undefined ? context : directories.get(from)
      if (source === undefined) throw new Error(`no stage ${from} stands before stage ${index}`)
      const place = target.startsWith('/') ? join(directory, target) : join(work, target)
      for (const path of sources) {
        await cp(join(source, path), target.endsWith('/') ? join(place, basename(path)) : place, {
          recursive: true,
          verbatimSymlinks: true,
        })
      }
    }
  }
  return work
}

/** Runs a line as Docker does. */
export async function shell(line: string, cwd: string): Promise<void> {
  await run('/bin/sh', ['-c', line], { cwd, maxBuffer: 2 ** 26 })
}

/** The paths that a .dockerignore lets into the context, where it leaves out everything else. */
export async function contextOf(path: string): Promise<Set<string>> {
  const lines = (await readFile(path, 'utf8')).split('\n').filter(line => line !== '' && !line.startsWith('#'))
  if (lines[0] !== '*') throw new Error(`${path} begins with *, or this reader has to learn more`)
  return new Set(lines.slice(1).map(line => line.replace(/^!/, '')))
}
