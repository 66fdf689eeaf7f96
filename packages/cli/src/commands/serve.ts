import { countProcesses, serveInProcesses } from '../serve-in-processes.ts';
import type { ServeOptions } from '../serve-options.ts';
import { isSupervised, runUntilStopped } from '../supervised.ts';

export function serve(components: readonly string[], options: ServeOptions): Promise<void> {
  return runUntilStopped(async () => {
    // A process that others work for needs none of the components' code; under a supervisor its configuration is not there yet.
    const count = isSupervised() ? 1 : countProcesses(components, options);
    if (count > 1) return serveInProcesses(count, components, options);
    const { serveComponents } = await import('../serve.ts');
    return serveComponents(components, options);
  });
}
