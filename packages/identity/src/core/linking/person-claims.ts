import type { PersonClaims } from '../../db/schema.ts';

const TEXTS = ['email', 'voperson_id', 'schac_home_organization'] as const;
const LISTS = ['eduperson_scoped_affiliation', 'eduperson_assurance'] as const;
const LONGEST_TEXT = 1000;
const LONGEST_LIST = 100;

/** Picks these claims out of an ID token and userinfo; what has another type is left out. */
export function personClaimsOf(claims: Readonly<Record<string, unknown>>): PersonClaims {
  const texts = TEXTS.map((name) => [name, textOf(claims[name])] as const);
  const lists = LISTS.map((name) => [name, textsOf(claims[name]).slice(0, LONGEST_LIST)] as const);
  return Object.fromEntries([
    ...texts.filter(([, text]) => text !== undefined && text.length <= LONGEST_TEXT),
    ...lists.filter(([, list]) => list.length > 0),
  ]);
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Some providers send a list of one as a string. */
export function textsOf(value: unknown): string[] {
  return [value ?? []].flat().filter((each): each is string => typeof each === 'string');
}
