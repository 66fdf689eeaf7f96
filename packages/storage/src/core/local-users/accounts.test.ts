import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { createAccounts, nameGroups } from './accounts.ts';

/** Accounts and groups that every Linux has. */
const rules = (changes = {}) => ({ minimumUid: 1, denied: [], allowedGroups: [], ...changes });
const refusal = (name: string, changes = {}) =>
  createAccounts(rules(changes))
    .find(name)
    .then(
      ({ uid }) => `served as ${uid}`,
      (error: Error) => error.message,
    );

describe.skipIf(process.platform !== 'linux')('accounts that are never served', () => {
  it('are root, whatever the floor, and those below the floor', async () => {
    expect(await refusal('root')).toMatch(/account of the system/);
    expect(await refusal('daemon', { minimumUid: 1000 })).toMatch(/account of the system/);
    expect(await refusal('daemon')).toBe('served as 1');
  });

  it('are those that the site refuses, and those in none of its groups', async () => {
    expect(await refusal('daemon', { denied: ['daemon'] })).toMatch(/is not served/);
    expect(await refusal('daemon', { allowedGroups: ['bin'] })).toMatch(/none of the groups/);
    expect(await refusal('daemon', { allowedGroups: ['bin', 'daemon'] })).toBe('served as 1');
  });

  it('are those that are locked by their login shell, where the site says so', async () => {
    const shell = readFileSync('/etc/passwd', 'utf8').match(/^daemon:.*:(.*)$/m)?.[1] ?? '';
    expect(await refusal('daemon', { deniedShells: [shell] })).toMatch(/is locked/);
    expect(await refusal('daemon', { deniedShells: ['/bin/other'] })).toBe('served as 1');
  });

  it('are names that are no names of accounts here', async () => {
    for (const name of ['--help', '-x', 'root:x', '../root', 'a b', '0', '', 'nobody-has-this-name'])
      expect([name, await refusal(name)]).toEqual([
        name,
        expect.stringMatching(/is not a name|does not exist/),
      ]);
  });
});

it('groups are told by name, those without one by number', async () => {
  const { gid } = userInfo();
  expect(await nameGroups([gid, 4_000_000_001])).toEqual([
    { gid, name: expect.any(String) },
    { gid: 4_000_000_001, name: null },
  ]);
});
