import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { Instance } from '../harness/instance.ts';
import type { Suite } from '../harness/peer.ts';
import { createPerson } from '../harness/person.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const jsonSchema = z.record(z.string(), z.unknown());
type Json = z.infer<typeof jsonSchema>;

/**
 * Gets a credential of each kind and hands it to every listener in every place where people put credentials by mistake or
 * by the dialect of a client: queries, paths, bodies of wrong routes, headers of other systems.
 */
export async function misuseEverywhere(suite: Suite): Promise<void> {
  const { instance, tools } = suite;
  const { endpoints } = instance;
  const curl = async (...args: string[]) =>
    (await tools.succeed('curl', ['--silent', '--show-error', '--cacert', endpoints.ca, ...args])).stdout;
  const json = async (...args: string[]): Promise<Json> => {
    const text = await curl(...args);
    const parsed = jsonSchema.safeParse(JSON.parse(text));
    if (!parsed.success) throw new Error(`${args.at(-1)} answered ${text}`);
    return parsed.data;
  };

  const credentials = [
    ...(await issueTokens(suite, json)),
    await issueAppPassword(suite, json),
    await issueApiKey(suite, json),
    await signIn(suite),
  ];
  const listeners = listenersOf(instance);
  for (const secret of credentials) {
    const encoded = encodeURIComponent(secret);
    // One process for all requests with this credential; answers do not matter, what the servers write down does.
    const requests = listeners.flatMap((url) => [
      ['--header', `Authorization: Bearer ${secret}`, `${url}/no/such/place`],
      ['--header', `authorization: ${secret}`, `${url}/?access_token=${encoded}`],
      ['--header', `X-Rucio-Auth-Token: ${secret}`, `${url}/whoami?authz=Bearer%20${encoded}`],
      ['--header', `X-API-Key: ${secret}`, `${url}/api/v1/target/hpc/validate_apikey/${encoded}`],
      [
        '--header',
        `Cookie: session=${secret}`,
        `${url}/authorize?client_secret=${encoded}&apikey=${encoded}`,
      ],
      ['--user', `alice:${secret}`, '-X', 'PROPFIND', `${url}/`],
      [
        '--data',
        `grant_type=refresh_token&refresh_token=${encoded}&client_secret=${encoded}`,
        `${url}/token`,
      ],
      ['--json', `{"password": "${secret}", "token": "${secret}"`, `${url}/jobs`],
      ['--json', JSON.stringify({ password: secret, files: [{ source_tokens: [secret] }] }), `${url}/jobs`],
      [
        '-X',
        'COPY',
        '--header',
        `TransferHeaderAuthorization: Bearer ${secret}`,
        '--header',
        'Source: https://127.0.0.1:1/x',
        `${url}/secrets-misuse`,
      ],
    ]);
    await curl(
      '--output',
      '/dev/null',
      ...requests.flatMap((request, index) =>
        index === 0
          ? request
          : ['--next', '--silent', '--cacert', endpoints.ca, '--output', '/dev/null', ...request],
      ),
    );
  }
}

/** Addresses of everything that listens. */
export function listenersOf({ endpoints }: Instance): string[] {
  return [
    ...[endpoints.issuer, endpoints.identity, endpoints.datalake, endpoints.transfer],
    ...[endpoints.orchestrator, endpoints.accounting],
    ...Object.values(endpoints.sites).flatMap(({ storage, compute }) =>
      compute ? [storage, compute] : [storage],
    ),
  ];
}

type AskJson = (...args: string[]) => Promise<Json>;

/** Registers a client, lets it ask for a device code, and gives tokens of every kind. */
async function issueTokens(suite: Suite, json: AskJson): Promise<string[]> {
  const { instance } = suite;
  const { endpoints } = instance;
  const registered = await json(
    '--json',
    JSON.stringify({
      client_name: 'misuse',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      redirect_uris: ['http://127.0.0.1/'],
      scope: 'openid offline_access storage.read:/',
    }),
    `${endpoints.issuer}/register`,
  );
  const basic = ['--user', `${registered.client_id}:${registered.client_secret}`];
  const device = await json(
    ...basic,
    '--data-urlencode',
    'scope=openid offline_access storage.read:/',
    `${endpoints.issuer}/devicecode`,
  );
  await allowDevice(suite, String(device.user_code));
  const tokens = await json(
    ...basic,
    ...['--data-urlencode', 'grant_type=urn:ietf:params:oauth:grant-type:device_code'],
    ...['--data-urlencode', `device_code=${device.device_code}`],
    `${endpoints.issuer}/token`,
  );
  const storage = storageOf(instance, 'hpc');
  const access = await storageToken(instance, storage);
  return [
    access,
    ...[registered.client_secret, registered.registration_access_token, device.device_code].map(String),
    ...[tokens.access_token, tokens.refresh_token, tokens.id_token].map(String),
  ];
}

async function issueAppPassword({ instance }: Suite, json: AskJson): Promise<string> {
  const storage = storageOf(instance, 'hpc');
  const made = await json(
    ...['--header', `Authorization: Bearer ${await storageToken(instance, storage)}`],
    ...['--json', '{"label": "misuse"}', `${storage}/.weft/api/v1/app-passwords`],
  );
  return String(made.password);
}

async function issueApiKey({ instance }: Suite, json: AskJson): Promise<string> {
  const { identity } = instance.endpoints;
  const token = await instance.token({ user: 'admin', audience: identity, scope: 'alise.admin:hpc' });
  const made = await json(
    ...['--header', `Authorization: Bearer ${token}`],
    ...['--json', '{"name": "misuse"}', `${identity}/api/v2/sites/hpc/apikeys`],
  );
  return String(made.apikey);
}

const passwordOfAlice = (suite: Suite) =>
  readFileSync(path.join(suite.instance.data, 'secrets', 'user-alice.secret'), 'utf8').trim();

function personOf({ instance }: Suite) {
  return createPerson({ ca: readFileSync(instance.endpoints.ca), origins: [instance.endpoints.issuer] });
}

async function allowDevice(suite: Suite, userCode: string): Promise<void> {
  const person = personOf(suite);
  await person.get(`${suite.instance.endpoints.issuer}/device?user_code=${encodeURIComponent(userCode)}`);
  let page = await person.submit({ username: 'alice', password: passwordOfAlice(suite) });
  for (let step = 0; step < 3 && /<form method="post"/.test(page.text); step++)
    page = await person.submit({ decision: 'allow' });
}

/** The cookie of somebody who has signed in, after having mistyped the password into the name. */
async function signIn(suite: Suite): Promise<string> {
  const { instance, tools } = suite;
  const password = passwordOfAlice(suite);
  const person = personOf(suite);
  await person.get(`${instance.endpoints.issuer}/device`);
  await person.submit({ username: password, password });
  await person.get(`${instance.endpoints.issuer}/device`);
  await person.submit({ username: 'alice', password });
  const cookie = [...person.cookies.values()].find((value) => value.length >= 20);
  if (cookie === undefined) throw new Error('signing in set no cookie');
  for (const value of person.cookies.values()) tools.witness.add('session cookie', value);
  return cookie;
}
