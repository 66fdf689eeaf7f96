// npm run pack: makes dist/, a package that npm can install anywhere, and weft-<version>.tgz of it (docs/decisions/0006).
// Node runs no TypeScript below node_modules, so types are stripped here, by the same function that strips them in a
// checkout: line for line the same code. The workspaces travel inside as bundled dependencies.
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';

interface Manifest {
  name: string;
  version: string;
  bin?: Record<string, string>;
  exports?: Record<string, string>;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  allowScripts?: Record<string, boolean>;
}

const root = path.resolve(import.meta.dirname, '..');
const out = path.join(root, 'dist');
const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8'));
const whole = readManifest('.');

rmSync(out, { recursive: true, force: true });
const workspaces = closure('@weft/cli');
const manifests = workspaces.map(packWorkspace);
writeWhole(manifests);
const [tarball = ''] = JSON.parse(
  execFileSync('npm', ['pack', out, '--json', '--pack-destination', root], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    cwd: root,
    maxBuffer: 64 * 2 ** 20,
  }),
).map(({ filename }: { filename: string }) => filename);
console.log(path.join(root, tarball));

/** The workspaces that a package needs, itself included. */
function closure(name: string): { folder: string; manifest: Manifest }[] {
  const all = new Map(
    globSync(['packages/*/package.json', 'examples/*/package.json'], { cwd: root }).map((file) => {
      const folder = path.dirname(file);
      const manifest = readManifest(folder);
      return [manifest.name, { folder, manifest }];
    }),
  );
  const found = new Map<string, { folder: string; manifest: Manifest }>();
  const visit = (each: string) => {
    const workspace = all.get(each);
    if (!workspace || found.has(each)) return;
    found.set(each, workspace);
    Object.keys(workspace.manifest.dependencies ?? {}).forEach(visit);
  };
  visit(name);
  return [...found.values()];
}

/** Writes one workspace as it is, without types and tests, and gives the manifest that it has there. */
function packWorkspace({ folder, manifest }: { folder: string; manifest: Manifest }): Manifest {
  const target = path.join(out, 'node_modules', manifest.name);
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', folder], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((file) => file !== '')
    .map((file) => path.relative(folder, file));
  for (const file of files.filter(isShipped)) {
    const source = path.join(root, folder, file);
    const destination = path.join(target, renamed(file));
    mkdirSync(path.dirname(destination), { recursive: true });
    if (isCode(file)) writeFileSync(destination, stripped(readFileSync(source, 'utf8')));
    else cpSync(source, destination);
  }
  const packed: Manifest = { ...manifest };
  if (manifest.exports) {
    packed.exports = Object.fromEntries(
      Object.entries(manifest.exports).map(([subpath, file]) => [
        subpath,
        `./${renamed(path.normalize(file))}`,
      ]),
    );
  }
  writeFileSync(path.join(target, 'package.json'), `${JSON.stringify(packed, null, 2)}\n`);
  return packed;
}

function isShipped(file: string): boolean {
  return !/\.test\.ts$|^test\/|^package\.json$|^tsconfig/.test(file) && !file.startsWith('src/testing/');
}

function isCode(file: string): boolean {
  return file.endsWith('.ts') && !file.endsWith('.d.ts');
}

function renamed(file: string): string {
  return file.replace(/\.ts$/, '.js');
}

/** Types become spaces; imports of `.ts` files name the `.js` files that they are now. */
function stripped(code: string): string {
  return stripTypeScriptTypes(code, { mode: 'strip' })
    .replace(/(\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(['"])(\.{1,2}\/[^'"\n]+)\.ts\2/g, '$1$2$3.js$2')
    .replace(/(new URL\(\s*['"])(\.{1,2}\/[^'"\n]+)\.ts(['"])/g, '$1$2.js$3');
}

/** The package around them: the command, and the union of what they need from the registry. */
function writeWhole(packed: readonly Manifest[]): void {
  const own = new Set(packed.map(({ name }) => name));
  const external = Object.assign({}, ...packed.map(({ dependencies = {} }) => dependencies));
  const dependencies = Object.fromEntries(
    Object.entries<string>(external)
      .filter(([name]) => !own.has(name))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  const manifest = {
    name: whole.name,
    version: whole.version,
    description: 'The infrastructure of a Digital Twin Engine in one program',
    license: 'Apache-2.0',
    type: 'module',
    engines: { node: '>=20' },
    bin: { weft: 'bin/weft.js' },
    files: ['bin', 'README.md', 'LICENSE', 'CHANGELOG.md'],
    dependencies: { ...dependencies, ...Object.fromEntries([...own].map((name) => [name, whole.version])) },
    bundleDependencies: [...own],
    optionalDependencies: Object.assign(
      {},
      whole.optionalDependencies,
      ...packed.map(({ optionalDependencies = {} }) => optionalDependencies),
    ),
    allowScripts: whole.allowScripts,
  };
  writeFileSync(path.join(out, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md'])
    cpSync(path.join(root, file), path.join(out, file));
  mkdirSync(path.join(out, 'bin'));
  cpSync(path.join(root, 'scripts', 'packed-weft.mjs'), path.join(out, 'bin', 'weft.js'));
}
