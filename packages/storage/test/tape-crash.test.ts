import { expect, it } from 'vitest';
import { killDuringTape } from './tape-under-kills.ts';

it('nobody reads a stub and nothing is lost when processes are killed while files go to tape and back', async () => {
  const { wrong, lost, leftovers } = await killDuringTape({ processes: 1, files: 6, kills: 2 });
  expect({ wrong, lost, leftovers }).toEqual({ wrong: [], lost: [], leftovers: [] });
});
