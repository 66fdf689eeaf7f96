import { createStorageClient } from '@weft/storage/client';
import { z } from 'zod';
import { checkForeignTokenRefused } from '../foreign-token.ts';
import type { Instance, Site } from '../instance.ts';
import { fileSchema, openRucio, type Rucio, replicaSchema } from '../rucio.ts';
import { PREFIX, SCOPE, type Scene } from '../scene.ts';
import type { Step } from '../tour.ts';

/** Where the sites are, and how far they are from one another as the datalake counts it (1 is near). */
const PLACES: Readonly<Record<string, { latitude: number; longitude: number; tier: string }>> = {
  observatory: { latitude: 40.0, longitude: -105.3, tier: 'source' },
  hpc: { latitude: 41.1, longitude: 16.9, tier: 'compute' },
  cloud: { latitude: 50.1, longitude: 19.9, tier: 'compute' },
};
const DISTANCES: readonly (readonly [string, string, number])[] = [
  ['observatory', 'hpc', 2],
  ['observatory', 'cloud', 3],
  ['hpc', 'cloud', 1],
];

/** The administrator describes the storages; alice registers the files and puts them into datasets. */
export async function registerObservations(scene: Scene, step: Step): Promise<void> {
  const { instance, files, datasets, container } = scene;
  const { datalake: url } = instance.endpoints;
  await instance.requireComponent('datalake', url);
  await checkForeignTokenRefused(step, instance, 'datalake', `${url}/accounts/whoami`, {
    header: 'x-rucio-auth-token',
  });

  const admin = openRucio(url, instance.tokens('admin', url));
  for (const site of instance.sites) {
    await describeStorage(admin, site);
    // `rucio upload` looks for the prefix before it writes below it.
    await createStorageClient({
      url: site.storage,
      fetch,
      token: instance.tokens('admin', site.storage, 'storage.create:/'),
    }).mkcol(PREFIX);
  }
  for (const [one, other, distance] of DISTANCES) {
    const path = `/rses/${instance.site(one).rse}/distances/${instance.site(other).rse}`;
    await admin.change('POST', path, { distance, bidirectional: true });
  }
  await admin.change('POST', `/scopes/alice/${SCOPE}`);
  step.note(`storages: ${instance.sites.map(({ rse, storage }) => `${rse} ${storage}${PREFIX}`).join(', ')}`);

  const alice = openRucio(url, instance.tokens('alice', url));
  await alice.change('POST', '/replicas', {
    rse: instance.site('observatory').rse,
    files: files.map(({ name, bytes, adler32 }) => ({ scope: SCOPE, name, bytes: bytes.length, adler32 })),
  });
  for (const { name, files: members } of datasets) {
    await alice.change('POST', `/dids/${SCOPE}/${name}`, { type: 'DATASET' });
    await attachMissing(
      alice,
      name,
      members.map((file) => file.name),
    );
  }
  await alice.change('POST', `/dids/${SCOPE}/${container}`, { type: 'CONTAINER' });
  await attachMissing(
    alice,
    container,
    datasets.map(({ name }) => name),
  );
  await checkCatalogue(alice, scene, step);
}

async function describeStorage(admin: Rucio, { name, rse, storage }: Site): Promise<void> {
  const { tier, ...place } = PLACES[name] ?? { tier: 'compute' };
  await admin.change('POST', `/rses/${rse}`, { deterministic: true, rse_type: 'DISK', ...place });
  for (const [key, value] of Object.entries({ site: name, tier, type: 'DISK' })) {
    await admin.change('POST', `/rses/${rse}/attr/${key}`, { value });
  }
  // Copies between storages go by WebDAV; the rucio command reads and writes files over plain HTTPS.
  await describeProtocol(admin, rse, storage, 'davs', {
    lan: { read: 2, write: 2, delete: 1 },
    wan: { read: 2, write: 2, delete: 1, third_party_copy_read: 1, third_party_copy_write: 1 },
  });
  await describeProtocol(admin, rse, storage, 'https', {
    lan: { read: 1, write: 1, delete: 2 },
    wan: { read: 1, write: 1, delete: 2 },
  });
}

/** The address of the storage; a storage that has moved (other ports) gets its new one. */
async function describeProtocol(
  admin: Rucio,
  rse: string,
  storage: string,
  scheme: 'davs' | 'https',
  domains: Readonly<Record<'lan' | 'wan', Readonly<Record<string, number>>>>,
): Promise<void> {
  const { hostname, port } = new URL(storage);
  const protocol = {
    hostname,
    port: Number(port),
    prefix: PREFIX,
    impl: 'rucio.rse.protocols.webdav.Default',
    domains,
  };
  const path = `/rses/${rse}/protocols/${scheme}`;
  const { protocols } = await admin.read(settingsSchema, `/rses/${rse}`);
  const known = protocols.filter((each) => each.scheme === scheme);
  const isHere = (each: { hostname: string; port: number }) =>
    each.hostname === hostname && each.port === protocol.port;
  for (const each of known) {
    if (!isHere(each)) await admin.change('DELETE', `${path}/${each.hostname}/${each.port}`);
  }
  if (!known.some(isHere)) await admin.change('POST', path, protocol);
}

const settingsSchema = z.object({
  protocols: z.array(z.object({ scheme: z.string(), hostname: z.string(), port: z.number() })),
});

async function attachMissing(alice: Rucio, collection: string, names: readonly string[]): Promise<void> {
  const path = `/dids/${SCOPE}/${collection}/dids`;
  const attached = new Set(
    (await alice.readAll(z.object({ name: z.string() }), path)).map(({ name }) => name),
  );
  const missing = names.filter((name) => !attached.has(name));
  if (missing.length === 0) return;
  await alice.change('POST', path, { dids: missing.map((name) => ({ scope: SCOPE, name })) });
}

/** What the datalake says about the data, seen with a scientist's eyes. */
async function checkCatalogue(
  alice: Rucio,
  { instance, files, container }: Scene,
  step: Step,
): Promise<void> {
  const whoami = await alice.read(z.object({ account: z.string() }), '/accounts/whoami');
  step.equal('alice is known as', whoami.account, 'alice');
  const listed = await alice.readAll(fileSchema, `/dids/${SCOPE}/${container}/files`);
  const checksums = new Map(listed.map(({ name, adler32 }) => [name, adler32]));
  step.check(
    `${SCOPE}:${container} holds ${files.length} files, each with its checksum`,
    listed.length === files.length && files.every(({ name, adler32 }) => checksums.get(name) === adler32),
  );
  step.equal('climdiv-pcpn-1934.csv: adler32', checksums.get('climdiv-pcpn-1934.csv'), 'f0be1225');
  const replicas = await alice.readAll(replicaSchema, '/replicas/list', {
    dids: [{ scope: SCOPE, name: container }],
    schemes: ['davs'],
  });
  const { rse } = instance.site('observatory');
  const expected = new Map(files.map(({ name, path }) => [name, addressOf(instance, path)]));
  step.check(
    `each has a replica at ${rse}, at the address where it was stored`,
    replicas.length === files.length &&
      replicas.every(({ name, rses }) => rses[rse]?.includes(expected.get(name) ?? '')),
    replicas[0]?.rses[rse]?.[0] ?? 'none',
  );
}

function addressOf(instance: Instance, path: string): string {
  return `${instance.site('observatory').storage.replace('https:', 'davs:')}${path}`;
}
