// Writes docs/configuration.md from the declarations of the settings: npm run docs:configuration
import { writeFileSync } from 'node:fs'
import { configurationPage } from '../dist/server/config/reference.js'

writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationPage())
