#!/usr/bin/env node
// Old syntax only, and nothing else before the check: an old Node has to get as far as the sentence that it is too old.
import './process/require-node.cjs'

void import('./process/main.js')
