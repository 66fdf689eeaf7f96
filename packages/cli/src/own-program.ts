import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The program that runs `weft`'s commands, for processes that this one starts. */
export const ENTRY = fileURLToPath(new URL('./main.ts', import.meta.url));

/** The command as a person runs it: of the checkout, or where npm put the package. */
export function ownCommand(): string {
  const checkout = path.resolve(import.meta.dirname, '..', '..', '..', 'weft');
  return process.env.WEFT_COMMAND ?? checkout;
}

/** The tour of the example twin. */
export function tourProgram(): string {
  const manifest = createRequire(import.meta.url).resolve('@weft/drought-twin/package.json');
  const tour = path.join(path.dirname(manifest), 'run.ts');
  // The packed build has its types stripped.
  return existsSync(tour) ? tour : tour.replace(/\.ts$/, '.js');
}
