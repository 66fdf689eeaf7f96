import { WeftError } from '@weft/kernel/errors';
import { parseResourcePath } from '../resource-path.ts';
import type { Segments } from '../segments.ts';
import { inNetworks, type Networks, parseNetworks } from './networks.ts';

/** What a holder may do, in the words of dCache and XRootD (brief teapot 2.6). */
export const ACTIVITIES = [
  'READ_METADATA',
  'UPDATE_METADATA',
  'LIST',
  'DOWNLOAD',
  'UPLOAD',
  'DELETE',
  'MANAGE',
  'STAGE',
] as const;

export type Activity = (typeof ACTIVITIES)[number];

/** What all caveats of a macaroon together leave over. */
export interface Bounds {
  readonly activities: ReadonlySet<Activity>;
  /** Nothing outside, compared by whole components. */
  readonly path: Segments;
  readonly expiresAt: Date;
  /** Each must contain the holder's address. */
  readonly networks: readonly Networks[];
  readonly maximumUploadBytes: number | undefined;
}

const EVERYTHING: Bounds = {
  activities: new Set(ACTIVITIES),
  path: [],
  expiresAt: new Date(8.64e15),
  networks: [],
  maximumUploadBytes: undefined,
};

/**
 * Reads caveats one after the other; each can only narrow what those before it have left. Several `path:` concatenate,
 * several `activity:` intersect, of several `before:` the earliest counts.
 *
 * @example readCaveats(['path:/data', 'activity:DOWNLOAD,LIST', 'before:2026-11-22T18:00:00Z', 'path:/2010'])
 *   // { path: ['data', '2010'], activities: DOWNLOAD and LIST, … }
 * @throws {WeftError} `invalid`, code `invalid-caveat`: an unknown key, a reserved one, or a value that is not understood.
 */
export function readCaveats(caveats: readonly string[], from: Bounds = EVERYTHING): Bounds {
  return caveats.reduce(narrow, from);
}

/** Why a holder at this address may not use it now; nothing when the caveats let them. */
export function findViolation(
  bounds: Bounds,
  { address, now }: { address: string; now: Date },
): string | undefined {
  if (now >= bounds.expiresAt) return 'the macaroon has expired';
  if (!bounds.networks.every((networks) => inNetworks(networks, address)))
    return 'the macaroon is not for this address';
  return undefined;
}

function narrow(bounds: Bounds, caveat: string): Bounds {
  const colon = caveat.indexOf(':');
  const key = colon === -1 ? caveat : caveat.slice(0, colon);
  const value = caveat.slice(colon + 1).trim();
  switch (key) {
    case 'activity':
      return { ...bounds, activities: common(bounds.activities, parseActivities(value)) };
    case 'path':
    // A holder of dCache's `root:` sees the names below it only. Ours go on to see whole paths, and no more than those.
    case 'root':
      return { ...bounds, path: [...bounds.path, ...parseResourcePath(value).segments] };
    case 'before':
      return { ...bounds, expiresAt: earlier(bounds.expiresAt, parseTime(value)) };
    case 'ip':
      return { ...bounds, networks: [...bounds.networks, parseNetworks(value)] };
    case 'max-upload':
      return {
        ...bounds,
        maximumUploadBytes: Math.min(bounds.maximumUploadBytes ?? Number.MAX_SAFE_INTEGER, parseBytes(value)),
      };
    // Where dCache's doors put a user at first; it allows and forbids nothing.
    case 'home':
      return bounds;
    default:
      // `id:`, `name:`, `iid:` and the like say who somebody is, which is not for holders to say.
      throw invalidCaveat(`the key ${JSON.stringify(key.slice(0, 40))} is not offered`);
  }
}

/** @example parseActivities('DOWNLOAD, LIST') */
export function parseActivities(value: string): ReadonlySet<Activity> {
  const names = value.split(',').map((name) => name.trim());
  return new Set(
    names.map((name) => {
      const activity = ACTIVITIES.find((known) => known === name);
      if (!activity) throw invalidCaveat(`there is no activity ${JSON.stringify(name.slice(0, 40))}`);
      return activity;
    }),
  );
}

/** ISO 8601 with a zone; dCache writes milliseconds, XRootD none. */
function parseTime(value: string): Date {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(value)
    ? Date.parse(value)
    : Number.NaN;
  if (Number.isNaN(time)) throw invalidCaveat('before: needs a time like 2026-11-22T18:00:00Z');
  return new Date(time);
}

function parseBytes(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw invalidCaveat('max-upload: needs a number of bytes');
  return Number(value);
}

function common(one: ReadonlySet<Activity>, other: ReadonlySet<Activity>): ReadonlySet<Activity> {
  return new Set([...one].filter((activity) => other.has(activity)));
}

function earlier(one: Date, other: Date): Date {
  return one < other ? one : other;
}

export function invalidCaveat(why: string): WeftError {
  return new WeftError('invalid', 'invalid-caveat', `The caveat is not acceptable: ${why}.`);
}
