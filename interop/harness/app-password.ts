import { z } from 'zod';
import type { Suite } from './peer.ts';

/** What a client that knows only Basic needs, and curl as the same user, to prepare and to tidy up. */
export interface AppPassword {
  readonly password: string;
  /** curl with the token that the password was made with; an answer of 400 or more throws. */
  curl(...args: string[]): Promise<string>;
  revoke(): Promise<void>;
}

const madeSchema = z.object({ id: z.string(), password: z.string() });

/** Makes an app password at a storage, as a person would with a token at hand. */
export async function makeAppPassword(
  { instance, tools }: Suite,
  storage: string,
  token: string,
  label: string,
): Promise<AppPassword> {
  const curl = async (...args: string[]) =>
    (
      await tools.succeed('curl', [
        ...['--silent', '--show-error', '--fail', '--cacert', instance.endpoints.ca],
        ...['--header', `Authorization: Bearer ${token}`],
        ...args,
      ])
    ).stdout;
  const passwords = `${storage}/.weft/api/v1/app-passwords`;
  const made = await curl('--data', JSON.stringify({ label }), passwords);
  const { id, password } = madeSchema.parse(JSON.parse(made));
  return {
    password,
    curl,
    revoke: async () => {
      await curl('-X', 'DELETE', `${passwords}/${id}`);
    },
  };
}
