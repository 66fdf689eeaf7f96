// Entry of every npm script. Runs on the Node that the machine has (20 or newer), installs what is missing
// and hands over to the Node 24 that the lockfile pins. Plain JavaScript without dependencies on purpose.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import process from 'node:process';

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '..');

/** They look only, so they run at the same time. */
const checks = [
  ['node_modules/typescript/bin/tsc', '--noEmit'],
  ['node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['scripts/import-rules.ts'],
  ['scripts/threats.ts'],
];

/** The scripts that `package.json` names: steps, each of commands for Node 24 that run at the same time. */
const tasks = {
  start: [[['packages/cli/src/main.ts', 'demo']]],
  weft: [[['packages/cli/src/main.ts']]],
  check: [[...checks, ['node_modules/knip/bin/knip.js']]],
  test: [checks, [['node_modules/vitest/vitest.mjs', 'run']]],
  interop: [[['interop/run.ts']]],
  chaos: [[['interop/chaos/run.ts']]],
  bench: [[['benchmarks/run.ts']]],
  pack: [[['scripts/pack.ts']]],
};

function install() {
  const lockfile = path.join(root, 'package-lock.json');
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockfile).mtimeMs) return;
  console.error('weft: installing the packages that the lockfile names …');
  // Not `npm ci`: it refuses a lockfile that lacks optional packages of platforms which a registry mirror does not carry.
  // Versions and integrity come from the lockfile all the same.
  const { status, error } = spawnSync(
    'npm',
    ['install', '--no-save', '--no-fund', '--no-audit', '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 2, 2],
    },
  );
  if (status !== 0) {
    console.error(
      `weft: npm install failed${error ? `: ${error.message}` : ''}. Mend: look at the lines above; npm needs its registry.`,
    );
    process.exit(69);
  }
}

function node24() {
  const pinned = path.join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  console.error(
    `weft: Node ${process.versions.node} is too old and no Node 24 is packaged for ${process.platform}-${process.arch}. Mend: install Node 24 or newer.`,
  );
  process.exit(69);
}

/** Runs one command on Node 24; resolves with its exit code. Signals reach the child through the terminal or are passed on. */
function run(node, command, extra) {
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: `${path.dirname(node)}:${process.env.PATH ?? ''}` };
    env.NODE_COMPILE_CACHE ??= path.join(root, 'node_modules', '.cache', 'compile');
    const child = spawn(node, [...command, ...extra], { cwd: process.cwd(), stdio: 'inherit', env });
    const pass = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass);
    child.on('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, pass);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

const [task = 'weft', ...rest] = process.argv.slice(2);
if (!(task in tasks)) {
  console.error(`weft: unknown task ${task}; one of ${Object.keys(tasks).join(', ')}`);
  process.exit(64);
}
process.chdir(task === 'weft' ? process.cwd() : root);
install();
const node = node24();
for (const [index, commands] of tasks[task].entries()) {
  const last = index === tasks[task].length - 1;
  const codes = await Promise.all(
    commands.map(([script, ...args]) => run(node, [path.join(root, script), ...args], last ? rest : [])),
  );
  const failed = codes.find((code) => code !== 0);
  if (failed !== undefined) process.exit(failed);
}
