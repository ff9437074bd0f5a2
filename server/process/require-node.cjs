/**
 * Ends the process with one sentence if Node is older than package.json's `engines` allow. The program's entry loads this file before any other, and the
 * start script before it builds, so the syntax is as old as the Node that has to read it.
 */
'use strict'

var parts = process.versions.node.split('.')
var major = Number(parts[0])
var minor = Number(parts[1])

if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    'aibridge needs Node.js 20.19 or newer, and this is ' +
      process.versions.node +
      ': install a newer one from https://nodejs.org',
  )
  process.exit(1)
}
