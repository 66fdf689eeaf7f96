import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { createRucioClient, type DidName } from '@weft/datalake/client';
import { createStorageClient } from '@weft/storage/client';
import { startInstance } from '../interop/harness/instance.ts';
import { createTools } from '../interop/harness/tools.ts';
import { type Benchmark, median } from './benchmark.ts';

const FILES = 20;
const BYTES = 1_000_000;
const SCOPE = 'drought';
const POLL_MILLISECONDS = 5;

/**
 * From the request that makes a rule to the rule that says OK: locks, request, submission to transfer, third-party copy,
 * comparison of the checksums and the way back, for one file of 1 MB at a time.
 */
const benchmark: Benchmark = {
  name: 'rule-to-copy',
  component: 'datalake',
  async run(note) {
    const tools = createTools(path.join(import.meta.dirname, '..', 'node_modules', '.cache', 'benchmarks'));
    const instance = await startInstance(tools, 27_000);
    try {
      // The twin's run makes the RSEs, their protocols and distances.
      await instance.runTwin();
      const { endpoints } = instance;
      const observatory = endpoints.sites.observatory;
      if (!observatory) throw new Error('no site observatory');
      setDefaultCACertificates([...getCACertificates('default'), readFileSync(endpoints.ca, 'utf8')]);
      const storageToken = await instance.token({ user: 'admin', audience: observatory.storage });
      const datalakeToken = await instance.token({ user: 'admin', audience: endpoints.datalake });
      const storage = createStorageClient({
        url: observatory.storage,
        fetch,
        token: async () => storageToken,
      });
      const rucio = createRucioClient({ url: endpoints.datalake, fetch, token: async () => datalakeToken });

      const seconds: number[] = [];
      for (let index = 0; index < FILES; index++) {
        const did: DidName = { scope: SCOPE, name: `bench-${randomBytes(8).toString('hex')}` };
        const content = randomBytes(BYTES);
        const target = `/rucio${deterministicPath(did)}`;
        await storage.put(target, content);
        const adler32 = (await storage.head(target))?.adler32;
        if (adler32 === undefined) throw new Error('the storage tells no adler32');
        await rucio.addReplicas(observatory.rse, [{ ...did, bytes: BYTES, adler32 }]);

        const startedAt = performance.now();
        const [rule] = await rucio.addRule({ dids: [did], copies: 1, rseExpression: 'CLOUD-DISK' });
        if (rule === undefined) throw new Error('no rule was made');
        for (let state = ''; state !== 'OK'; ) {
          ({ state } = await rucio.getRule(rule));
          if (state === 'STUCK') throw new Error(`rule ${rule} is stuck`);
          if (state !== 'OK') await sleep(POLL_MILLISECONDS);
        }
        seconds.push((performance.now() - startedAt) / 1000);
      }
      note(
        `${FILES} rules for one file of ${BYTES} bytes each: ${seconds.map((value) => value.toFixed(2)).join(' ')} s`,
      );
      const figure = { unit: 's', better: 'lower', peer: null, ratio: null } as const;
      return [
        { ...figure, name: 'rule-to-copy-median', value: median(seconds), target: 1 },
        { ...figure, name: 'rule-to-copy-worst', value: Math.max(...seconds), target: 3 },
      ];
    } finally {
      await instance.stop();
    }
  },
};

/** Rucio's `hash` algorithm: two levels of folders from the MD5 of `scope:name` (brief rucio-api 3.8). */
function deterministicPath({ scope, name }: DidName): string {
  const digest = createHash('md5').update(`${scope}:${name}`).digest('hex');
  return `/${scope.replaceAll('.', '/')}/${digest.slice(0, 2)}/${digest.slice(2, 4)}/${name}`;
}

export default benchmark;
