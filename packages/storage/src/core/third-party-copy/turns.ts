import { WeftError } from '@weft/kernel/errors';
import type { Caller } from '../caller.ts';
import type { Door } from '../door.ts';

/**
 * One more third-party copy, counted in all processes of the instance. Returns the function that gives the turn back.
 *
 * @throws {WeftError} `unavailable`, code `too-many-copies`.
 */
export async function takeTurn(
  { context, config }: Pick<Door, 'context' | 'config'>,
  { issuer, subject }: Pick<Caller, 'issuer' | 'subject'>,
): Promise<() => void> {
  const { maximum, maximum_per_user: maximumPerUser } = config.third_party_copy;
  const all = `storage.copies ${config.site}`;
  const own = `${all} ${issuer} ${subject}`;
  const taken = await context.siblings.takeTurns([
    { key: own, maximum: maximumPerUser },
    { key: all, maximum },
  ]);
  if ('giveBack' in taken) return taken.giveBack;
  const whose = taken.full === own ? 'third-party copies of yours' : 'third-party copies';
  throw new WeftError('unavailable', 'too-many-copies', `Too many ${whose} are running; try again.`);
}
