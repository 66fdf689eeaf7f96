/**
 * Prints the program of a worker as one text, which `worker-process.ts` gives to each on its standard input: every module
 * of it, without types. A worker then opens no file to begin with, and need not load what strips types, which takes longer
 * than everything else that it does to start, and more memory than all the rest of it.
 */
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';

interface Module {
  readonly source: string;
  /** By specifier: URLs of what it imports, Node's own modules aside. */
  readonly imports: Readonly<Record<string, string>>;
}

const IMPORT = /\b(?:from|import)\s*(['"])([^'"\n]+)\1/g;

const entry = new URL('./worker.ts', import.meta.url).href;
process.stdout.write(print(entry, collect(entry)));

/** Every module that `first` leads to, by URL. */
function collect(first: string): Record<string, Module> {
  const modules: Record<string, Module> = {};
  const visit = (url: string): void => {
    if (modules[url]) return;
    const text = readFileSync(fileURLToPath(url), 'utf8');
    const source = url.endsWith('.ts') ? stripTypeScriptTypes(text) : text;
    const imports: Record<string, string> = {};
    modules[url] = { source, imports };
    for (const [, , specifier = ''] of source.matchAll(IMPORT)) {
      if (specifier.startsWith('node:')) continue;
      const target = specifier.startsWith('.')
        ? new URL(specifier, url).href
        : import.meta.resolve(specifier);
      imports[specifier] = target;
      visit(target);
    }
  };
  visit(first);
  return modules;
}

function print(first: string, modules: Readonly<Record<string, Module>>): string {
  return `import { registerHooks } from 'node:module';
const modules = ${JSON.stringify(modules)};
registerHooks({
  resolve(specifier, context, next) {
    const url = modules[context.parentURL]?.imports[specifier] ?? specifier;
    return url in modules ? { url, format: 'module', shortCircuit: true } : next(specifier, context);
  },
  load(url, context, next) {
    const known = modules[url];
    return known ? { source: known.source, format: 'module', shortCircuit: true } : next(url, context);
  },
});
await import(${JSON.stringify(first)});
`;
}
