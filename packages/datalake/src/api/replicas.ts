import { z } from 'zod';
import { accessDenied, requireScopeWriter } from '../core/accounts/rights.ts';
import { changeReplicaStates, setTombstones } from '../core/replicas/change-states.ts';
import { registerReplicas } from '../core/replicas/register.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { created, done } from './answers.ts';
import {
  adler32Schema,
  bytesSchema,
  didNameSchema,
  lenientBoolean,
  MOST_ITEMS,
  md5Schema,
  parseBody,
} from './bodies.ts';
import { replicaMetadata, replicaState } from './replica-body.ts';
import { route } from './router.ts';

const newReplicas = z.object({
  rse: z.string(),
  files: z
    .array(
      didNameSchema.extend({
        bytes: bytesSchema,
        adler32: adler32Schema.nullish(),
        md5: md5Schema.nullish(),
        state: z.string().nullish(),
        pfn: z.string().nullish(),
        meta: z.record(z.string(), z.unknown()).nullish(),
      }),
    )
    .max(MOST_ITEMS),
  ignore_availability: lenientBoolean.nullish(),
});

const replicaStates = z.object({
  rse: z.string(),
  files: z.array(didNameSchema.extend({ state: z.string() })).max(MOST_ITEMS),
});

const tombstones = z.object({ replicas: z.array(didNameSchema.extend({ rse: z.string() })).max(MOST_ITEMS) });

/** Brief rucio-api 2.4, writing. */
export const replicaRoutes = [
  route('POST', '/replicas', async (call) => {
    const { lake, issuer } = call;
    const { rse, files, ignore_availability } = parseBody(call, newReplicas);
    await lake.database.transaction(async (tx) => {
      const topology = await loadTopology(tx);
      await requireScopeWriter(
        tx,
        issuer,
        files.map(({ scope }) => scope),
        'add replicas',
      );
      const replicas = files.map(({ meta, state, ...file }) => ({
        scope: file.scope,
        name: file.name,
        bytes: file.bytes,
        adler32: file.adler32 ?? null,
        md5: file.md5 ?? null,
        pfn: file.pfn ?? null,
        state: replicaState(state ?? 'A'),
        ...replicaMetadata(meta),
      }));
      await registerReplicas(tx, lake, issuer, topology.byName(rse), replicas, {
        ignoreAvailability: ignore_availability ?? false,
      });
    });
    return created();
  }),

  route('PUT', '/replicas', async (call) => {
    const { lake, issuer } = call;
    const { rse, files } = parseBody(call, replicaStates);
    await lake.database.transaction(async (tx) => {
      const topology = await loadTopology(tx);
      const changes = files.map(({ scope, name, state }) => ({ scope, name, state: replicaState(state) }));
      await changeReplicaStates(
        tx,
        lake,
        topology.byName(rse),
        changes,
        issuer.isAdmin ? undefined : issuer.account,
      );
    });
    return done();
  }),

  route('DELETE', '/replicas', ({ issuer }) => {
    throw accessDenied(
      issuer,
      'delete replicas from the catalogue',
      'nobody may: use POST /replicas/tombstone',
    );
  }),

  route('POST', '/replicas/tombstone', async (call) => {
    const { lake, issuer } = call;
    const { replicas } = parseBody(call, tombstones);
    await lake.database.transaction(async (tx) => {
      const topology = await loadTopology(tx);
      await requireScopeWriter(
        tx,
        issuer,
        replicas.map(({ scope }) => scope),
        'set tombstones',
      );
      await setTombstones(
        tx,
        lake,
        replicas.map((replica) => ({ ...replica, rse: topology.byName(replica.rse) })),
      );
    });
    return created();
  }),
];
