/** Builds the operator's page into `dist/web`: files with hashed names, which need nothing beside their own origin. */
import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: '/',
  plugins: [react()],
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    // The oldest browsers with `light-dark()` in style sheets.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // A file as a data: URL would need a wider policy than the page has.
    assetsInlineLimit: 0,
    // The polyfill is an inline script, and browsers of the target know module preloads.
    modulePreload: { polyfill: false },
    manifest: true,
    reportCompressedSize: false,
  },
})
