import type { Area, Place } from '../core/areas.ts';
import type { Digests } from '../core/checksums/digests.ts';
import type { DeadProperty } from '../core/dead-properties.ts';
import type { Door } from '../core/door.ts';
import { unpackEntries } from '../core/files/packed-entries.ts';
import type { FileFacts, ListedFile, PackedEntries, Space } from '../core/files/types.ts';
import type { Lock } from '../core/locks.ts';
import { encodePath, encodeSegment, plainPath, type Segments } from '../core/resource-path.ts';
import type { Locality } from '../core/tape/tape-system.ts';
import type { Question } from './print-properties.ts';
import { LOCALITY_PROPERTY, type PropertyName, type Resource } from './properties.ts';
import { NOTHING_KNOWN } from './write-properties.ts';

/** Entries of a collection, and what is known of them besides. */
export interface DescribedEntries {
  readonly entries: PackedEntries;
  /** Of each entry; nothing when they are not asked for. */
  readonly digests: readonly (Digests | undefined)[] | undefined;
  /** By index, those that have locks or dead properties, or of which it is asked where their content lies. */
  readonly special: ReadonlyMap<number, Resource>;
}

export interface Descriptions {
  /** The collection or file that was asked for itself. */
  itself(facts: FileFacts): Promise<Resource>;
  /** Children that are no files: collections on the way to areas. */
  children(entries: readonly ListedFile[]): Promise<readonly Resource[]>;
  /** Children of a collection in an area, with one query a kind. */
  entries(entries: PackedEntries): Promise<DescribedEntries>;
}

export interface DescribedTarget {
  readonly door: Door;
  /** Nothing on the way to areas. */
  readonly place: Place | undefined;
  readonly segments: Segments;
  readonly question: Question;
  /** Of the area. */
  readonly space: Space | undefined;
  /** That cover the target or something below it. */
  readonly locks: readonly Lock[];
}

interface Entry {
  readonly path: Segments;
  readonly href: string;
  readonly facts: FileFacts;
}

/** Looks up in the database what a question may ask of resources, beside what the file system says. */
export function createDescriptions(target: DescribedTarget): Descriptions {
  const { door, place, segments, question, space, locks } = target;
  const area = place?.area;
  const asksLocality = isNamed(question, LOCALITY_PROPERTY);
  const asksChecksums = wantsChecksums(question);
  const folder = encodePath(segments, true);

  function toEntry({ name, facts }: ListedFile): Entry {
    const slash = facts.kind === 'collection' ? '/' : '';
    return { path: [...segments, name], href: `${folder}${encodeSegment(name)}${slash}`, facts };
  }

  async function describe(
    entries: readonly Entry[],
    digests: readonly (Digests | undefined)[],
    dead: ReadonlyMap<string, readonly DeadProperty[]>,
  ): Promise<Resource[]> {
    const localities = area && asksLocality ? await localitiesOf(area, entries) : [];
    return entries.map((entry, index) => {
      // What hardly anything has is not looked for by its path.
      const plain = locks.length > 0 || dead.size > 0 ? plainPath(entry.path) : '';
      return {
        ...entry,
        digests: digests[index] ?? NOTHING_KNOWN,
        space: entry.facts.kind === 'collection' ? space : undefined,
        locality: localities[index],
        locks: locks.length > 0 ? locks.filter((lock) => covers(lock, plain)) : locks,
        dead: dead.get(plain) ?? NONE,
      };
    });
  }

  async function localitiesOf(of: Area, entries: readonly Entry[]): Promise<(Locality | undefined)[]> {
    const files = entries.filter(({ facts }) => facts.kind === 'file');
    const asked = files.map(({ path, facts }) => ({ ...facts, path: plainPath(path) }));
    const known = await door.tape?.localities(of, asked);
    const byFile = new Map(files.map((file, index) => [file, known?.[index] ?? 'DISK']));
    return entries.map((entry) => byFile.get(entry));
  }

  return {
    async itself(facts) {
      const own: Entry = { path: segments, href: encodePath(segments, facts.kind === 'collection'), facts };
      const summed = area && facts.kind === 'file' && asksChecksums;
      const [digests, dead] = await Promise.all([
        summed ? door.checksums.find(area.name, [facts]) : [],
        door.properties.find(() => [segments]),
      ]);
      const [resource] = await describe([own], digests, dead);
      if (!resource) throw new Error('Nothing was described.');
      return resource;
    },
    async children(entries) {
      const own = entries.map(toEntry);
      return describe(own, [], await door.properties.find(() => own.map(({ path }) => path)));
    },
    async entries(entries) {
      const [digests, dead] = await Promise.all([
        area && asksChecksums ? door.checksums.findOfEntries(area.name, entries) : undefined,
        door.properties.find(() => unpackEntries(entries).map(({ name }) => [...segments, name])),
      ]);
      if (locks.length === 0 && dead.size === 0 && !asksLocality)
        return { entries, digests, special: NOTHING_SPECIAL };
      const resources = await describe(unpackEntries(entries).map(toEntry), digests ?? [], dead);
      const special = [...resources.entries()].filter(
        ([, resource]) => resource.locks.length > 0 || resource.dead.length > 0 || resource.locality,
      );
      return { entries, digests, special: new Map(special) };
    },
  };
}

const NONE: readonly DeadProperty[] = [];
const NOTHING_SPECIAL: ReadonlyMap<number, Resource> = new Map();

function isNamed(question: Question, property: PropertyName): boolean {
  const named =
    question.kind === 'prop' ? question.names : question.kind === 'allprop' ? question.include : [];
  return named.some(({ namespace, name }) => namespace === property.namespace && name === property.name);
}

function covers(lock: Lock, path: string): boolean {
  if (lock.path === path) return true;
  return lock.deep && path.startsWith(lock.path === '/' ? '/' : `${lock.path}/`);
}

const CHECKSUM_NAMES: ReadonlySet<string> = new Set(['Checksum', 'Checksums', 'checksums']);

function wantsChecksums(question: Question): boolean {
  if (question.kind === 'prop') return question.names.some(({ name }) => CHECKSUM_NAMES.has(name));
  return question.kind === 'allprop';
}
