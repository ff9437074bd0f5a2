/**
 * Ends the process with one sentence if Node is older than `engines` in package.json. The entry of the program loads
 * this file before any other file, and so does the start script before the build. The syntax is old, because an old
 * Node must be able to read the file.
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
