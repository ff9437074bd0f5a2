#!/usr/bin/env bash
# In Node 20 an object literal that begins with a spread and goes on with further properties makes a hidden class for
# each object, and every later access to such an object is a slow one. With the spread behind the properties, or with
# Object.assign, all objects share one.
# Versions: Node 20.19 to 20.20 (V8 11.3). Depends on this: client/bridge/front-door/admission.ts, and all objects that
# are made for each request; test/e2e/hidden-classes.test.ts looks for others.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/finding.js" <<'JS'
const source = n => ({ a: n, b: n })
const forms = {
  'spread first': n => ({ ...source(n), c: n }),
  'spread last': n => ({ c: n, ...source(n) }),
  'Object.assign': n => Object.assign({}, source(n), { c: n }),
}
const shares = form => {
  for (let n = 0; n < 10_000; n++) form(n)
  return %HaveSameMap(form(1), form(2))
}
const shared = Object.keys(forms).filter(name => shares(forms[name])).join(', ')
const holds = shared === 'spread last, Object.assign'
console.log(holds ? 'holds' : `one hidden class with: ${shared}`)
process.exitCode = holds ? 0 : 1
JS
node --allow-natives-syntax "$dir/finding.js"
