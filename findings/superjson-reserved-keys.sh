#!/usr/bin/env bash
# superjson throws when an object has a key `constructor`, `prototype` or `__proto__`, which the schemas of AI tools may have.
# Versions: superjson 2.2.6. Depends on this: shared/rpc/json/transformer.ts carries such keys by itself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund superjson@2.2.6
cat >finding.mjs <<'JS'
import superjson from 'superjson'

const passed = ['constructor', 'prototype', '__proto__'].filter(key => {
  try {
    superjson.serialize(JSON.parse(`{${JSON.stringify(key)}: 1}`))
    return true
  } catch {
    return false
  }
})
console.log(passed.length === 0 ? 'holds' : `superjson serializes an object with the key ${passed.join(', ')}`)
process.exitCode = passed.length === 0 ? 0 : 1
JS
node finding.mjs
