import { type ServeOptions, serveComponents } from '../serve.ts';
import { runUntilStopped } from '../supervised.ts';

export function serve(components: readonly string[], options: ServeOptions): Promise<void> {
  return runUntilStopped(() => serveComponents(components, options));
}
