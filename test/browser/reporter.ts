import type { Reporter, TestModule } from 'vitest/node'
import { findChromium, withoutChromium } from './find-chromium.js'

/** Begins the summary of a run with a sentence if its browser tests were skipped for want of a browser. */
export class BrowserReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const isSkipped = modules.some(({ moduleId }) => /[\\/]test[\\/]browser[\\/]/.test(moduleId)) && !findChromium()
    if (isSkipped) console.log(`\n ${withoutChromium}\n`)
  }
}
