import type { AnyTx, Database } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import { plainPath, type Segments } from './resource-path.ts';
import { BELIEF_MILLISECONDS, createSharedAnswer, untilBelieved } from './shared-answer.ts';
import { MAXIMUM_STORABLE_BYTES, requireStorablePath } from './storable-path.ts';

/** A property that clients made up; `element` is the whole element as XML. */
export interface DeadProperty {
  readonly namespace: string;
  readonly name: string;
  readonly element: string;
}

export type PropertyChange =
  | { readonly kind: 'set'; readonly property: DeadProperty }
  | { readonly kind: 'remove'; readonly namespace: string; readonly name: string };

type Work = (tx: AnyTx) => Promise<void>;

export interface DeadProperties {
  /** By path, of those that have any. The paths are only asked for when there are any properties at all. */
  find(paths: () => readonly Segments[]): Promise<ReadonlyMap<string, readonly DeadProperty[]>>;
  /** All or nothing, in order. */
  change(path: Segments, changes: readonly PropertyChange[]): Promise<void>;
  /** Each to be done in the transaction that tells of the change, if at all; of a resource and of everything below it. */
  forgetting(path: Segments): Promise<Work | undefined>;
  moving(from: Segments, to: Segments): Promise<Work | undefined>;
  copying(from: Segments, to: Segments): Promise<Work | undefined>;
}

/** Of one resource: they stand in each listing of its collection. */
const MAXIMUM_PROPERTIES = 1000;
const MAXIMUM_BYTES = 1024 * 1024;
/** Namespace and name together, in bytes; both are part of the key. */
const MAXIMUM_NAME_BYTES = 500;

function requireStorableName(namespace: string, name: string): void {
  if (Buffer.byteLength(namespace + name) <= MAXIMUM_NAME_BYTES) return;
  throw new WeftError(
    'invalid',
    'invalid-propertyupdate',
    `Namespace and name of a property may have ${MAXIMUM_NAME_BYTES} bytes together.`,
  );
}

/** Properties in PostgreSQL, by path (RFC 4918 section 4). */
export function createDeadProperties(database: Database, instance: string): DeadProperties {
  /** True of the path itself and of what lies below it; `starts_with` takes every character as itself. */
  const within = (path: string) =>
    sql<boolean>`(path = ${path} or starts_with(path, ${path === '/' ? '/' : `${path}/`}))`;

  /** Where what lies at or below `source` comes to lie; PostgreSQL counts characters, JavaScript halves of some. */
  const moved = (source: string, target: string) =>
    sql<string>`${target} || substr(path, ${[...source].length + 1}::int)`;
  /** What would get a path that cannot be noted loses its properties. */
  const fits = (source: string, target: string) =>
    sql<boolean>`(octet_length(${moved(source, target)}) <= ${MAXIMUM_STORABLE_BYTES}::int)`;

  const forget: (tx: AnyTx, path: string) => Promise<void> = async (tx, path) => {
    await sql`delete from storage.properties where instance = ${instance} and ${within(path)}`.execute(tx);
  };

  const anyProperties = createSharedAnswer(async () => {
    const [row] = await database.prepared(
      'storage.any-properties',
      sql<{ any: boolean }>`
        select exists (select from storage.properties where instance = ${instance}) as any`,
    );
    return row?.any !== false;
  }, BELIEF_MILLISECONDS);

  return {
    async find(pathsOf) {
      if (!(await anyProperties())) return new Map();
      const paths = pathsOf().map(plainPath);
      const { rows } = await sql<DeadProperty & { path: string }>`
        select path, namespace, name, element from storage.properties
        where instance = ${instance} and path = any(${paths})
        order by path, namespace, name`.execute(database.sql);
      return Map.groupBy(rows, ({ path }) => path);
    },
    async change(path, changes) {
      // The last word about each name counts; together they are two statements.
      const last = new Map<string, PropertyChange>();
      for (const change of changes) {
        const { namespace, name } = change.kind === 'set' ? change.property : change;
        last.set(JSON.stringify([namespace, name]), change);
      }
      const set = [...last.values()].flatMap((change) => (change.kind === 'set' ? [change.property] : []));
      const removed = [...last.values()].flatMap((change) => (change.kind === 'remove' ? [change] : []));
      const plain = plainPath(path);
      requireStorablePath(plain);
      for (const { namespace, name } of set) requireStorableName(namespace, name);
      await database.transaction(async (tx) => {
        await sql`delete from storage.properties
          where instance = ${instance} and path = ${plain} and (namespace, name) in (
            select * from unnest(${removed.map(({ namespace }) => namespace)}::text[], ${removed.map(({ name }) => name)}::text[])
          )`.execute(tx);
        await sql`insert into storage.properties (instance, path, namespace, name, element)
          select ${instance}, ${plain}, * from unnest(
            ${set.map(({ namespace }) => namespace)}::text[],
            ${set.map(({ name }) => name)}::text[],
            ${set.map(({ element }) => element)}::text[])
          on conflict (instance, path, namespace, name) do update set element = excluded.element`.execute(tx);
        const { rows } = await sql<{ count: number; bytes: string }>`
          select count(*)::int as count, coalesce(sum(octet_length(element)), 0)::text as bytes from storage.properties
          where instance = ${instance} and path = ${plain}`.execute(tx);
        if ((rows[0]?.count ?? 0) > MAXIMUM_PROPERTIES || Number(rows[0]?.bytes) > MAXIMUM_BYTES)
          throw new WeftError(
            'exhausted',
            'too-many-properties',
            'The resource would have too many properties.',
          );
      });
      await untilBelieved();
    },
    async forgetting(path) {
      if (!(await anyProperties())) return undefined;
      return (tx) => forget(tx, plainPath(path));
    },
    async moving(from, to) {
      if (!(await anyProperties())) return undefined;
      const source = plainPath(from);
      const target = plainPath(to);
      return async (tx) => {
        await forget(tx, target);
        await sql`delete from storage.properties where instance = ${instance} and ${within(source)} and not ${fits(source, target)}`.execute(
          tx,
        );
        await sql`update storage.properties set path = ${moved(source, target)}
          where instance = ${instance} and ${within(source)}`.execute(tx);
      };
    },
    async copying(from, to) {
      if (!(await anyProperties())) return undefined;
      const source = plainPath(from);
      const target = plainPath(to);
      return async (tx) => {
        await forget(tx, target);
        await sql`insert into storage.properties (instance, path, namespace, name, element)
          select instance, ${moved(source, target)}, namespace, name, element
          from storage.properties where instance = ${instance} and ${within(source)} and ${fits(source, target)}`.execute(
          tx,
        );
      };
    },
  };
}
