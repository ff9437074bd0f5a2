/** The built page: what is loaded before the first paint, and that nothing of it needs another origin or an eval. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { pageFolder } from './page-folder.js'

interface Chunk {
  file: string
  isEntry?: boolean
  imports?: string[]
  dynamicImports?: string[]
  css?: string[]
}

const manifest: Record<string, Chunk> = JSON.parse(readFileSync(join(pageFolder, '.vite/manifest.json'), 'utf8'))
const files = readdirSync(join(pageFolder, 'assets'))

/** The files that a chunk needs before it runs, its own included. */
function closure(name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found
  found.add(name)
  for (const next of manifest[name]?.imports ?? []) closure(next, found)
  return found
}

const compressed = (names: Iterable<string>) =>
  [...names].reduce((sum, name) => sum + gzipSync(readFileSync(join(pageFolder, manifest[name]?.file ?? ''))).length, 0)

test('the script of the first paint is below 200 KiB compressed', () => {
  const entry = Object.keys(manifest).find(name => manifest[name]?.isEntry) ?? ''
  expect(compressed(closure(entry))).toBeLessThan(200 * 1024)
  expect(compressed(closure(entry))).toBeGreaterThan(50 * 1024)
})

test('a view adds less than 60 KiB to the first paint', () => {
  const entry = closure('index.html')
  const views = manifest['index.html']?.dynamicImports ?? []
  expect(views.length).toBeGreaterThan(15)
  for (const view of views) {
    const own = [...closure(view)].filter(name => !entry.has(name))
    expect(compressed(own), view).toBeLessThan(60 * 1024)
  }
})

test('the document has no inline script or style, and names its own files alone', () => {
  const html = readFileSync(join(pageFolder, 'index.html'), 'utf8')
  expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc="\/assets\/)/)
  for (const [, url] of html.matchAll(/(?:src|href)="([^"]*)"/g)) expect(url).toMatch(/^\/assets\/[\w.-]+$/)
})

test('the style sheets load nothing', () => {
  for (const file of files.filter(name => name.endsWith('.css'))) {
    expect(readFileSync(join(pageFolder, 'assets', file), 'utf8'), file).not.toMatch(/@import|url\((?!["']?data:)/)
  }
})

test('every file above 1 KiB has its compressed variants', () => {
  for (const file of files.filter(name => /\.(js|css)$/.test(name))) {
    const path = join(pageFolder, 'assets', file)
    if (readFileSync(path).length < 1024) continue
    expect([`${path}.br`, `${path}.gz`].filter(variant => !existsSync(variant))).toEqual([])
  }
})
