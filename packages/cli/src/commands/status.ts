import { readFileSync } from 'node:fs';
import { createGuardedFetch } from '@weft/kernel/http';
import { locateDataFolder } from '../data-folder.ts';
import { type Endpoints, endpointsOf } from '../endpoints.ts';
import { processStartTime, readInstanceState } from '../instance-state.ts';

interface ListenerStatus {
  readonly component: string;
  readonly url: string;
  readonly ready: boolean;
}

/** Prints what runs; the exit code is 0 when everything is ready, 69 when something is not, 3 when nothing runs. */
export async function status(options: { data: string; json?: boolean }): Promise<void> {
  const folder = locateDataFolder(options.data);
  const state = readInstanceState(folder);
  if (!state) {
    if (options.json) process.stdout.write('{"running":false}\n');
    else process.stdout.write(`nothing runs in ${folder.root}\n`);
    process.exitCode = 3;
    return;
  }
  const endpoints = endpointsOf(folder, state.portBase);
  const listeners = await probe(endpoints, state.components);
  const processes = state.processes.map((each) => ({
    ...each,
    alive: processStartTime(each.pid) === each.startTime,
  }));
  const ready = listeners.every((listener) => listener.ready) && processes.every(({ alive }) => alive);
  process.exitCode = ready ? 0 : 69;
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ running: true, ready, listeners, processes }, null, 2)}\n`);
    return;
  }
  for (const { component, url, ready: answers } of listeners) {
    process.stdout.write(`${answers ? 'ready   ' : 'no answer'} ${component.padEnd(22)} ${url}\n`);
  }
  for (const { name, pid, alive, restarts } of processes) {
    const again = restarts > 0 ? `, restarted ${restarts} times` : '';
    process.stdout.write(`${alive ? 'running ' : 'ended   '} ${name.padEnd(22)} pid ${pid}${again}\n`);
  }
}

async function probe(endpoints: Endpoints, components: readonly string[]): Promise<ListenerStatus[]> {
  const urls: [string, string][] = [];
  if (components.includes('identity')) urls.push(['identity', endpoints.issuer]);
  for (const name of ['datalake', 'transfer', 'orchestrator', 'accounting'] as const) {
    if (components.includes(name)) urls.push([name, endpoints[name]]);
  }
  for (const [site, { storage, compute }] of Object.entries(endpoints.sites)) {
    if (components.includes('storage')) urls.push([`storage ${site}`, storage]);
    if (components.includes('compute') && compute !== undefined) urls.push([`compute ${site}`, compute]);
  }
  const fetch = createGuardedFetch({
    allowOrigins: urls.map(([, url]) => url),
    certificateAuthorities: [readFileSync(endpoints.ca, 'utf8')],
  });
  try {
    return await Promise.all(
      urls.map(async ([component, url]) => {
        const answer = await fetch(`${url}/.weft/ready`, { timeoutMilliseconds: 2000 }).catch(
          () => undefined,
        );
        await answer?.body?.cancel();
        return { component, url, ready: answer?.status === 200 };
      }),
    );
  } finally {
    await fetch.close();
  }
}
