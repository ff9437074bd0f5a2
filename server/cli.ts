#!/usr/bin/env node
// Old syntax, and no import before the check, so that an old Node gets as far as the sentence about its age.
import './process/require-node.cjs'

void import('./commands/main.js')
