import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { clientSettings } from '../database/connection.ts';
import { type DatabaseTarget, quoteIdentifier } from '../database/index.ts';

/** Makes a new, empty database on the server of `target`; `drop` removes it, whoever is connected. */
export async function createDatabase(
  target: DatabaseTarget,
): Promise<{ target: DatabaseTarget; drop: () => Promise<void> }> {
  const name = `weft_test_${randomBytes(6).toString('hex')}`;
  await runOn(target, `create database ${quoteIdentifier(name)}`);
  return {
    target: inDatabase(target, name),
    drop: async () => await runOn(target, `drop database if exists ${quoteIdentifier(name)} with (force)`),
  };
}

function inDatabase(target: DatabaseTarget, database: string): DatabaseTarget {
  if (target.connection !== undefined) return { connection: { ...target.connection, database } };
  const url = new URL(typeof target.url === 'string' ? target.url : target.url.reveal());
  url.pathname = `/${database}`;
  return { url: url.toString() };
}

async function runOn(target: DatabaseTarget, statement: string): Promise<void> {
  const client = new pg.Client(clientSettings(target, 'weft test'));
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
