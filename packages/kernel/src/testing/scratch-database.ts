import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { quoteIdentifier } from '../database/index.ts';

/** Makes a new, empty database on the server of `url` and gives the URL that leads to it. */
export async function createDatabase(url: string): Promise<{ url: string; name: string }> {
  const name = `weft_test_${randomBytes(6).toString('hex')}`;
  await runOn(url, `create database ${quoteIdentifier(name)}`);
  const scratch = new URL(url);
  scratch.pathname = `/${name}`;
  return { url: scratch.toString(), name };
}

export async function dropDatabase(url: string, name: string): Promise<void> {
  await runOn(url, `drop database if exists ${quoteIdentifier(name)} with (force)`);
}

async function runOn(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
