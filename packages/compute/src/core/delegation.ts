import { Secret } from '@weft/kernel/config';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { createDatalake, webUrl } from './datalake.ts';
import type { Manifest } from './manifest.ts';
import type { PodKey } from './pods.ts';
import { parseStageIn, parseStageOut, STAGE_IN, STAGE_OUT } from './staging-annotations.ts';

/** Refresh tokens of one pod's owner: an issuer binds each to audiences and scopes. */
const delegationSchema = z.object({ datalake: z.string(), storages: z.string() });
type Delegation = z.output<typeof delegationSchema>;

const sealedFor = ({ site, uid }: PodKey) => `compute.pods delegation ${site}/${uid}`;

/** Whether a pod needs its owner's authority after `/create` has returned. */
export function needsDelegation(manifest: Manifest): boolean {
  const { annotations } = manifest.metadata;
  return parseStageIn(annotations[STAGE_IN]).length + parseStageOut(annotations[STAGE_OUT]).length > 0;
}

/**
 * Exchanges the caller's token for authority that lasts as long as the pod (seams, "Who acts"): for the datalake, and for
 * the storages where its data lies or will lie, with no more than the folders of its scopes. The refresh tokens are kept
 * encrypted, bound to this pod.
 *
 * @throws {WeftError} `unsupported` when there is no datalake; `forbidden` when the issuer does not give enough.
 */
export async function delegate(
  context: ComputeContext,
  site: Site,
  key: PodKey,
  manifest: Manifest,
  callerToken: string,
): Promise<Buffer> {
  const { datalake } = context.config;
  if (datalake === undefined) {
    throw new WeftError(
      'unsupported',
      'no-datalake',
      `Site ${key.site} has no datalake, so its pods cannot stage data.`,
    );
  }
  const forDatalake = await context.tokens.exchange(callerToken, {
    audience: datalake.url,
    scopes: ['openid', 'profile', 'offline_access'],
  });
  const needs = await storageNeeds(context, site, manifest, forDatalake.accessToken);
  const forStorages = await context.tokens.exchange(callerToken, {
    audience: [...needs.origins].join(' '),
    scopes: [...needs.scopes, 'offline_access'],
  });
  const missing = [...needs.scopes].filter((scope) => !forStorages.scopes.includes(scope));
  if (missing.length > 0) {
    throw new WeftError(
      'forbidden',
      'insufficient_scope',
      `Staging needs ${missing.join(', ')}, which your token does not give.`,
      {
        details: { scope: missing.join(' ') },
      },
    );
  }
  if (forDatalake.refreshToken === undefined || forStorages.refreshToken === undefined) {
    throw new WeftError(
      'forbidden',
      'no-delegation',
      'The issuer grants no refresh token for staging data in your name.',
    );
  }
  return seal(context, key, {
    datalake: forDatalake.refreshToken.reveal(),
    storages: forStorages.refreshToken.reveal(),
  });
}

interface StorageNeeds {
  readonly origins: ReadonlySet<string>;
  readonly scopes: ReadonlySet<string>;
}

/** Storages and folders that a pod will read from and write to, as the datalake knows them now. */
async function storageNeeds(
  context: ComputeContext,
  site: Site,
  manifest: Manifest,
  datalakeToken: string,
): Promise<StorageNeeds> {
  const datalake = createDatalake({
    url: context.config.datalake?.url ?? '',
    fetch: context.fetch,
    token: async () => datalakeToken,
  });
  const origins = new Set<string>(site.config.storage ? [site.config.storage.url] : []);
  const scopes = new Set<string>();
  for (const did of parseStageIn(manifest.metadata.annotations[STAGE_IN])) {
    for (const replica of await datalake.listReplicas(did)) {
      for (const pfn of Object.keys(replica.pfns)) {
        const url = webUrl(pfn);
        origins.add(url.origin);
        scopes.add(`storage.read:${scopeFolder(decodeURIComponent(url.pathname), replica.scope)}`);
      }
    }
  }
  for (const { rse, scope } of parseStageOut(manifest.metadata.annotations[STAGE_OUT])) {
    const url = await datalake.webdavOf(rse);
    origins.add(url.origin);
    const folder = `${decodeURIComponent(url.pathname).replace(/\/+$/, '')}/${scope}`;
    for (const action of ['read', 'create', 'modify']) scopes.add(`storage.${action}:${folder}`);
  }
  if (origins.size === 0 || scopes.size === 0) {
    throw new WeftError(
      'invalid',
      'nothing-to-stage',
      'No storage has any of the data that the pod wants to be staged in.',
    );
  }
  return { origins, scopes };
}

/** The folder of a scope in a storage, or the file's own folder when its path does not tell. */
function scopeFolder(path: string, scope: string): string {
  const at = path.indexOf(`/${scope}/`);
  return at === -1 ? path.slice(0, Math.max(1, path.lastIndexOf('/'))) : path.slice(0, at + scope.length + 1);
}

export interface DelegatedRequest {
  readonly for: keyof Delegation;
  readonly audience: string;
  readonly scopes: readonly string[];
}

/** A short-lived token of the pod's owner for one service. */
export async function delegatedToken(
  context: ComputeContext,
  key: PodKey,
  request: DelegatedRequest,
): Promise<string> {
  const row = await context.database
    .withTables<ComputeTables>()
    .selectFrom('compute.pods')
    .select('delegation_sealed')
    .where('site', '=', key.site)
    .where('uid', '=', key.uid)
    .executeTakeFirst();
  if (!row?.delegation_sealed) {
    throw new WeftError(
      'conflict',
      'no-delegation',
      `The pod ${key.uid} has no authority of its owner any more.`,
    );
  }
  const delegation = delegationSchema.parse(
    JSON.parse(context.secrets.open(row.delegation_sealed, sealedFor(key)).reveal()),
  );
  // We are a confidential client: our refresh tokens are not rotated (RFC 6749 10.4, brief alise-aai 3.7).
  const { accessToken } = await context.tokens.refresh(new Secret(delegation[request.for]), request);
  return accessToken;
}

function seal(context: ComputeContext, key: PodKey, delegation: Delegation): Buffer {
  return context.secrets.seal(new Secret(JSON.stringify(delegation)), sealedFor(key));
}
