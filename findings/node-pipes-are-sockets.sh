#!/usr/bin/env bash
# A command that Node starts with `stdio: 'pipe'` cannot open /dev/stdout or /dev/stderr (ENXIO): Node's pipes are sockets.
# `mkfifo` and `new Socket({ fd })` would do, except in worker threads, where Node keeps a second owner of the descriptor.
# Versions: Node 20.20, Linux. Depends on this: client/agent/command.ts, whose commands write `>&2` instead.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >finding.mjs <<'JS'
import { spawnSync } from 'node:child_process'

const { status, stdout } = spawnSync('sh', ['-c', 'echo written > /dev/stderr; echo written > /dev/stdout'])
const holds = status !== 0 && stdout.length === 0
console.log(holds ? 'holds' : 'a command can open its pipes by name')
process.exitCode = holds ? 0 : 1
JS
node finding.mjs
