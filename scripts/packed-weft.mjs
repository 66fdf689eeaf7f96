#!/usr/bin/env node
// The weft command of the packed build. Plain JavaScript for any Node from 20 on: hands over to the Node 24 that npm
// installed beside it, unless this one is new enough.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { constants, homedir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const caches = process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache');
process.env.NODE_COMPILE_CACHE ??= path.join(caches, 'weft', 'compile');
process.env.WEFT_COMMAND = fileURLToPath(import.meta.url);

const main = require.resolve('@weft/cli');
const node = pinnedNode() ?? process.execPath;
const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));

/** The Node 24 that this package's lockfile pins; without it a system Node of 24 or newer must do. */
function pinnedNode() {
  try {
    const manifest = require.resolve(`node-${process.platform}-${process.arch}/package.json`);
    return path.join(path.dirname(manifest), 'bin', 'node');
  } catch {
    if (Number(process.versions.node.split('.')[0]) >= 24) return undefined;
    console.error(`weft: Node ${process.versions.node} is too old. Mend: install Node 24 or newer.`);
    process.exit(69);
  }
}
