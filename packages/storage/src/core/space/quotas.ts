import { describeError, WeftError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { Area, Place } from '../areas.ts';
import type { FileFacts, Space } from '../files/types.ts';
import { countFiles, filesBelow, measureTree } from './count-files.ts';
import type { SpaceChange, Usage } from './usage.ts';

/** Bytes that an upload may write; to be settled by the journal's entry of the file, or released. */
export interface Claim {
  /** More than was announced. @throws {WeftError} `exhausted`. */
  grow(bytes: number): Promise<void>;
  /**
   * What the books must be told once the file, or the tree of `bytes`, has its name; `replaced` is what stands there until
   * then.
   */
  settlement(
    replaced: FileFacts | undefined,
  ): Promise<(placed: FileFacts, bytes?: number) => readonly SpaceChange[]>;
  /** The upload has failed. */
  release(): Promise<void>;
}

/**
 * How much may be stored: what the file system has left, and in areas with a quota no more than that. Bytes are claimed
 * before they are asked for, so that any number of uploads at once stay within a quota; what jobs write underneath is
 * counted from time to time.
 */
export interface Quotas {
  /** Without an owner, of the area as a whole. */
  spaceOf(area: Area, owner: string | undefined): Promise<Space>;
  /** @throws {WeftError} `exhausted`, when so many bytes cannot be stored now. */
  claim(area: Area, owner: string, bytes: number): Promise<Claim>;
  /** Changes of the books when what stands at a place goes away; to be asked before it does. */
  freed(place: Place, facts: FileFacts): Promise<readonly SpaceChange[]>;
  /** Makes `owner` the owner of the files of a tree that was copied; their bytes are settled apart. */
  adopt(place: Place, owner: string): Promise<readonly SpaceChange[]>;
  /** Bytes of a file or tree, as a copy of it would take. */
  sizeOf(place: Place, facts: FileFacts): Promise<number>;
}

export function createQuotas(usage: Usage, log: Logger): Quotas {
  const counting = new Map<string, Promise<void>>();
  /** Counted once by this process, because a crash may have left the books behind the disk. */
  const seen = new Set<string>();

  /** Who is counted apart in an area: in multi-user mode each account by its own view of the files. */
  const counterOf = (area: Area) => area.account?.name;

  async function ensureCounted(area: Area): Promise<void> {
    const { quota, name } = area.config;
    if (!quota) return;
    const owner = counterOf(area);
    const key = JSON.stringify([name, owner]);
    const counted = await usage.countedAt(name, owner);
    const age = counted === undefined ? Number.POSITIVE_INFINITY : (Date.now() - counted.getTime()) / 1000;
    if (age < quota.recount_seconds && seen.has(key)) return;
    seen.add(key);
    const running = counting.get(key) ?? countFiles(usage, area).finally(() => counting.delete(key));
    counting.set(key, running);
    // Old books will do until there are new ones.
    if (counted === undefined) return running;
    running.catch((error: unknown) =>
      log.warn({ error: describeError(error), area: name }, 'files could not be counted'),
    );
  }

  const limitsOf = ({ config: { quota } }: Area) => ({
    areaBytes: quota?.bytes,
    ownerBytes: quota?.user_bytes,
  });

  async function claimBytes(area: Area, owner: string, bytes: number): Promise<void> {
    const { granted, balance } = await usage.claim({ area: area.config.name, owner }, bytes, limitsOf(area));
    if (granted) return;
    const left = leftOf(area, balance);
    throw exhausted(`The quota has ${Math.max(0, left)} bytes left, ${bytes} are needed.`);
  }

  return {
    async spaceOf(area, owner) {
      const space = await area.files.space();
      const { quota } = area.config;
      if (!quota) return space;
      await ensureCounted(area);
      const balance = await usage.balance({ area: area.config.name, owner: owner ?? '' });
      const ofOwner = owner !== undefined && quota.user_bytes !== undefined;
      const left = ofOwner
        ? leftOf(area, balance)
        : (quota.bytes ?? Number.POSITIVE_INFINITY) - balance.areaBytes;
      return {
        usedBytes: ofOwner ? balance.ownerBytes : balance.areaBytes,
        availableBytes: Math.max(0, Math.min(space.availableBytes, left)),
      };
    },

    async claim(area, owner, bytes) {
      const { availableBytes } = await area.files.space();
      if (bytes > availableBytes) throw exhausted(`${availableBytes} bytes are left, ${bytes} are needed.`);
      if (!area.config.quota) return NO_CLAIM;
      await ensureCounted(area);
      await claimBytes(area, owner, bytes);
      let claimed = bytes;
      const account = { area: area.config.name, owner };
      return {
        async grow(more) {
          await claimBytes(area, owner, more);
          claimed += more;
        },
        async settlement(replaced) {
          const freed = replaced ? await freedFiles(usage, area, [replaced]) : [];
          return (placed, usedBytes = placed.size) => [
            {
              ...account,
              usedBytes,
              claimedBytes: claimed,
              ...(placed.kind === 'file' ? { file: placed } : {}),
            },
            ...freed,
          ];
        },
        release: () => (claimed > 0 ? usage.release(account, claimed) : Promise.resolve()),
      };
    },

    async freed(place, facts) {
      const { area } = place;
      if (!area.config.quota) return [];
      if (facts.kind === 'file') return freedFiles(usage, area, [facts]);
      const changes: SpaceChange[] = [];
      for (const [owner, bytes] of await measureTree(usage, area, place.inner))
        changes.push({ area: area.config.name, owner, usedBytes: -bytes, claimedBytes: 0 });
      return changes;
    },

    async adopt({ area, inner }, owner) {
      const { quota, name } = area.config;
      if (area.account || quota?.user_bytes === undefined) return [];
      const changes: SpaceChange[] = [];
      for await (const files of filesBelow(area, inner))
        for (const file of files) changes.push({ area: name, owner, usedBytes: 0, claimedBytes: 0, file });
      return changes;
    },

    async sizeOf({ area, inner }, facts) {
      if (facts.kind === 'file') return facts.size;
      if (!area.config.quota) return 0;
      const owners = await measureTree(usage, area, inner);
      return [...owners.values()].reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

/** Where there is no quota, the file system alone decides. */
const NO_CLAIM: Claim = {
  grow: () => Promise.resolve(),
  settlement: () => Promise.resolve(() => []),
  release: () => Promise.resolve(),
};

async function freedFiles(usage: Usage, area: Area, files: readonly FileFacts[]): Promise<SpaceChange[]> {
  const { name } = area.config;
  const owners = area.account
    ? files.map(({ uid }) => (uid === area.account?.uid ? area.account.name : undefined))
    : await usage.ownersOf(name, files);
  return files.flatMap((file, index) => {
    const owner = owners[index];
    return owner === undefined ? [] : [{ area: name, owner, usedBytes: -file.size, claimedBytes: 0 }];
  });
}

function leftOf({ config: { quota } }: Area, balance: { areaBytes: number; ownerBytes: number }): number {
  return Math.min(
    (quota?.bytes ?? Number.POSITIVE_INFINITY) - balance.areaBytes,
    (quota?.user_bytes ?? Number.POSITIVE_INFINITY) - balance.ownerBytes,
  );
}

function exhausted(message: string): WeftError {
  return new WeftError('exhausted', 'insufficient-storage', message);
}
