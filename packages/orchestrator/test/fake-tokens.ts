import type { TokenSource } from '@weft/kernel/auth';
import { Secret } from '@weft/kernel/config';

/** What a token source was asked for. */
export interface Asked {
  readonly grant: string;
  readonly audience: string;
  readonly scopes: readonly string[];
}

/** An issuer that grants everything; tokens name their audience. */
export function fakeTokens(asked: Asked[]): TokenSource {
  const note = (grant: string, audience: string, scopes: readonly string[]) =>
    asked.push({ grant, audience, scopes });
  return {
    async own({ audience, scopes }) {
      note('own', audience, scopes);
      return `own-for-${audience}`;
    },
    async exchange(_subject, { audience, scopes }) {
      note('exchange', audience, scopes);
      return {
        accessToken: `exchanged-for-${audience}`,
        // About to end, so that the refresh token is used.
        expiresAt: new Date(Date.now() + 10_000),
        scopes,
        refreshToken: new Secret(`refresh-for-${audience}`),
      };
    },
    async refresh(_token, { audience, scopes }) {
      note('refresh', audience, scopes);
      return {
        accessToken: `refreshed-for-${audience}`,
        expiresAt: new Date(Date.now() + 3_600_000),
        scopes,
      };
    },
  };
}
