/** Builds the operator's page into dist/web, with compressed variants beside its files. `node scripts/build-page.js` */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'vite'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Smaller files fit into one packet as they are. */
const smallestBytes = 1024

await build({ configFile: join(root, 'web/vite.config.ts'), logLevel: 'warn' })
for (const path of readdirSync(join(root, 'dist/web'), { recursive: true, encoding: 'utf8' })) {
  const file = join(root, 'dist/web', path)
  if (!/\.(js|css|html|svg)$/.test(path) || statSync(file).size < smallestBytes) continue
  const content = readFileSync(file)
  writeFileSync(`${file}.br`, brotliCompressSync(content))
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }))
}
