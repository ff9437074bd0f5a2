/** `aibridge config check`: the settings of a command and the source of each. */
import type { Command } from 'commander'
import type { FileInUse, ShownSetting } from '../config/shown-config.js'
import { type Column, print, printResult, printTable } from '../process/output.js'
import { withDaemonOptions } from './daemon.js'
import { withServeOptions } from './serve.js'

/** Adds `config check serve|daemon`. */
export function addConfigCommands(program: Command): void {
  const check = program
    .command('config')
    .description('the settings of serve and daemon')
    .command('check')
    .description(
      'check flags, environment and files as the command would, and show every setting with its source; secrets only as set',
    )
  for (const [name, withOptions] of [
    ['serve', withServeOptions],
    ['daemon', withDaemonOptions],
  ] as const) {
    withOptions(check.command(name, { isDefault: name === 'serve' }).description(`the settings of ${name}`)).action(
      async (flags: Record<string, unknown>) => {
        const { fileWarning, shownConfig } = await import('../config/shown-config.js')
        const settings = await shownConfig(name, flags, process.env)
        const warning = fileWarning(flags, process.env)
        if (warning !== undefined) process.stderr.write(`${warning}\n`)
        printResult(flags, settings, () => printSettings(settings))
      },
    )
  }
}

function printSettings(settings: ShownSetting[]): void {
  printTable(settings, columns, '')
  const files = settings.flatMap(({ file }) => file ?? [])
  if (files.length === 0) return
  print('')
  printTable(files, fileColumns, '')
}

const columns: Column<ShownSetting>[] = [
  ['SETTING', setting => setting.name],
  ['VALUE', setting => setting.value],
  ['SOURCE', setting => setting.source],
]

const fileColumns: Column<FileInUse>[] = [
  ['FILE', file => file.path],
  ['STATE', file => (file.state === 'missing' ? 'missing; serve makes it at the first start' : `mode ${file.mode}`)],
]
