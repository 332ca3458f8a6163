#!/usr/bin/env node
// The command. It stands apart from the built code so that it can be linked before anything is built.
import { main } from '../dist/cli.js'

// Not `process.exitCode`: see main.
process.exit(await main({ argv: process.argv.slice(2), env: process.env }))
