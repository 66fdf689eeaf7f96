// The walls of the house (docs/seams.md, DESIGN decision 1): which file may import what, and none itself by a detour, be it
// for a type. Prints each breach and fails.
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

const COMPONENTS = ['identity', 'storage', 'transfer', 'datalake', 'compute', 'orchestrator', 'accounting'];
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)\s*import\s+'([^']+)'/g;

interface Rule {
  readonly name: string;
  applies(file: string): boolean;
  allows(specifier: string, file: string): boolean;
}

const inside = (file: string, folder: string) => file.startsWith(`${folder}/`);
const component = (file: string) => COMPONENTS.find((name) => inside(file, `packages/${name}`));
const isTest = (file: string) => file.includes('.test.') || /^packages\/[^/]+\/test\//.test(file);

const rules: readonly Rule[] = [
  {
    name: 'kernel knows no component',
    applies: (file) => inside(file, 'packages/kernel'),
    allows: (specifier) => !specifier.startsWith('@weft/'),
  },
  {
    name: "a component imports kernel and other components' clients, nothing else of Weft",
    applies: (file) => component(file) !== undefined && !isTest(file),
    allows: (specifier) =>
      !specifier.startsWith('@weft/') ||
      specifier.startsWith('@weft/kernel/') ||
      /^@weft\/[a-z]+\/client$/.test(specifier),
  },
  {
    name: 'a client runs in a browser: no node: modules, no kernel',
    applies: (file) => /^packages\/[^/]+\/src\/client(\.ts|\/)/.test(file) && !isTest(file),
    allows: (specifier) => !specifier.startsWith('node:') && !specifier.startsWith('@weft/'),
  },
  {
    name: 'core knows nothing of the wire dialect',
    applies: (file) => /^packages\/[^/]+\/src\/core\//.test(file),
    allows: (specifier, file) =>
      !path.posix.join(path.posix.dirname(file), specifier).includes('/src/api/') && specifier !== 'fastify',
  },
  {
    name: 'examples, interop and benchmarks are clients',
    applies: (file) => ['examples', 'interop', 'benchmarks'].some((folder) => inside(file, folder)),
    allows: (specifier) => !specifier.startsWith('@weft/') || /^@weft\/[a-z]+\/client$/.test(specifier),
  },
  {
    name: 'relative imports stay inside their package',
    applies: (file) => inside(file, 'packages'),
    allows: (specifier, file) => {
      if (!specifier.startsWith('.')) return true;
      const own = file.split('/').slice(0, 2).join('/');
      return path.posix.join(path.posix.dirname(file), specifier).startsWith(`${own}/`);
    },
  },
];

const breaches: string[] = [];
const imports = new Map<string, string[]>();
const files = globSync(
  ['packages/*/{src,test}/**/*.ts', 'interop/**/*.ts', 'examples/**/*.ts', 'benchmarks/**/*.ts'],
  {
    exclude: (name) => name === 'node_modules' || name === 'dist',
  },
);
for (const file of files) {
  const text = readFileSync(file, 'utf8');
  const own: string[] = [];
  imports.set(file, own);
  for (const match of text.matchAll(IMPORT)) {
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    if (specifier.startsWith('.')) own.push(path.posix.join(path.posix.dirname(file), specifier));
    for (const rule of rules) {
      if (rule.applies(file) && !rule.allows(specifier, file))
        breaches.push(`${file}: imports ${specifier} (${rule.name})`);
    }
  }
}
for (const circle of circles(imports)) breaches.push(`${circle.join(' imports ')}: a circle`);
for (const breach of breaches) console.error(breach);
if (breaches.length > 0) process.exit(1);

/** One circle for each import that closes one, found depth first. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const follow = (file: string): void => {
    if (done.has(file)) return;
    const since = way.indexOf(file);
    if (since !== -1) {
      found.push([...way.slice(since), file]);
      return;
    }
    way.push(file);
    for (const next of graph.get(file) ?? []) follow(next);
    way.pop();
    done.add(file);
  };
  for (const file of graph.keys()) follow(file);
  return found;
}
