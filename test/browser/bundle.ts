/** Programs for pages: bundled as an application's are, from the built package and its condition `browser`. */
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { build } from 'vite'

/** Returns the module that a bundler makes of a program that imports aibridge by its public names. */
export async function bundle(program: string): Promise<string> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'aibridge-page-')))
  try {
    await mkdir(join(root, 'node_modules'))
    for (const name of ['aibridge', 'superjson']) {
      await symlink(
        name === 'aibridge' ? resolve('.') : resolve('node_modules', name),
        join(root, 'node_modules', name),
      )
    }
    await writeFile(join(root, 'package.json'), '{"type":"module"}')
    await writeFile(join(root, 'page.js'), program)
    const result = await build({
      root,
      configFile: false,
      logLevel: 'silent',
      build: { write: false, minify: false, lib: { entry: 'page.js', formats: ['es'] } },
    })
    const [output] = Array.isArray(result) ? result : [result]
    if (!output || !('output' in output)) throw new Error('the bundler watches instead of building')
    const [chunk, ...others] = output.output
    if (others.length > 0) throw new Error(`the bundle has ${others.length + 1} files`)
    return chunk.code
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
