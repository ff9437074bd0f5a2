/** `aibridge config check`: what a command would run with, and where each setting comes from. */
import type { Command } from 'commander'
import type { ShownSetting } from '../config/shown-config.js'
import { withDaemonOptions } from './daemon.js'
import { type Column, printResult, printTable } from './output.js'
import { withServeOptions } from './serve.js'

/** Adds `config check serve|daemon`. */
export function addConfigCommands(program: Command): void {
  const check = program
    .command('config')
    .description('the settings of serve and daemon')
    .command('check')
    .description(
      'check flags, environment and file as the command would, and show every setting with its source; secrets only as set',
    )
  for (const [name, withOptions] of [
    ['serve', withServeOptions],
    ['daemon', withDaemonOptions],
  ] as const) {
    withOptions(check.command(name, { isDefault: name === 'serve' }).description(`the settings of ${name}`)).action(
      async (flags: Record<string, unknown>) => {
        const { fileWarning, shownConfig } = await import('../config/shown-config.js')
        const settings = shownConfig(name, flags, process.env)
        const warning = fileWarning(flags, process.env)
        if (warning !== undefined) process.stderr.write(`${warning}\n`)
        printResult(flags, settings, () => printTable(settings, columns, ''))
      },
    )
  }
}

const columns: Column<ShownSetting>[] = [
  ['SETTING', setting => setting.name],
  ['VALUE', setting => setting.value],
  ['SOURCE', setting => setting.source],
]
