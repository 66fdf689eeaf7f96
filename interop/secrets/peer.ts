import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { dumpDatabase } from './dump.ts';
import { listenersOf, misuseEverywhere } from './misuse.ts';

/**
 * Everything that the run gave out, looked for in a dump of the database and in all logs. Runs last: the witness has read
 * the outputs of all peers before. `psql` makes the dump, so that no code of ours stands between.
 */
const peer: Peer = {
  name: 'secrets',
  components: ['identity', 'kernel'],
  last: true,

  async install(tools) {
    await tools.needCommand('psql', ['postgresql-client']);
    await tools.needCommand('curl', ['curl', 'ca-certificates']);
  },

  async quick(suite) {
    const { witness } = suite.tools;
    await suite.check(
      'credentials are issued, and shown in every place where they do not belong',
      async () => {
        readSecretFiles(suite);
        await misuseEverywhere(suite);
        const kinds = new Set(witness.secrets.values());
        for (const kind of EXPECTED_KINDS)
          if (!kinds.has(kind))
            throw new Error(`nothing of the kind ${kind} was issued; saw ${[...kinds].join(', ')}`);
      },
    );
    await suite.check('a dump of the database has none of them', async () => {
      const dump = await dumpDatabase(suite);
      if (dump.length < 10_000) throw new Error(`the dump has ${dump.length} characters only`);
      expectEqual(found(witness.secrets, dump), [], 'in the database');
    });
    await suite.check('no log has any of them', async () => {
      const folder = path.join(suite.instance.data, 'log');
      const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      );
      if (files.length < 3) throw new Error(`only ${files.length} logs`);
      for (const { name, parentPath } of files)
        expectEqual(
          found(witness.secrets, readFileSync(path.join(parentPath, name), 'utf8')),
          [],
          `in ${name}`,
        );
    });
    await suite.check('metrics tell nobody by name: no subject, no e-mail address', async () => {
      const token = await suite.instance.token({ user: 'alice' });
      const { sub } = z
        .object({ sub: z.string() })
        .parse(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()));
      for (const url of listenersOf(suite.instance)) {
        const { stdout } = await suite.tools.succeed('curl', [
          ...[
            '--silent',
            '--show-error',
            '--fail',
            '--cacert',
            suite.instance.endpoints.ca,
            `${url}/.weft/metrics`,
          ],
        ]);
        expectMatch(stdout, /^process_cpu_seconds_total/m, `metrics of ${url}`);
        for (const personal of [sub, 'alice@example.org', 'Alice'])
          if (stdout.includes(personal)) throw new Error(`${url}/.weft/metrics has ${personal}`);
      }
    });
    console.log(`    looked for ${witness.secrets.size} credentials`);
  },
};

export default peer;

const EXPECTED_KINDS = [
  'signature of a JWT',
  'refresh_token',
  'client_secret',
  'registration_access_token',
  'device_code',
  'password',
  'apikey',
  'session cookie',
  'password of a person',
];

/** What the instance made for itself when it started. */
function readSecretFiles({ instance, tools }: Suite): void {
  const folder = path.join(instance.data, 'secrets');
  for (const name of readdirSync(folder)) {
    if (name === 'instance.id') continue;
    const content = readFileSync(path.join(folder, name), 'utf8').trim();
    if (name.startsWith('user-')) tools.witness.add('password of a person', content);
    else if (name.endsWith('.jwk')) tools.witness.add(name, String(JSON.parse(content).d));
    else
      tools.witness.add(
        name,
        content
          .replace(/-----[^-]+-----/g, '')
          .trim()
          .split('\n')[0] ?? '',
      );
  }
}

/** Where credentials stand in a text, as they are or encoded as databases and URLs do; without the credentials. */
function found(secrets: ReadonlyMap<string, string>, text: string): string[] {
  return [...secrets].flatMap(([secret, name]) => {
    const spelling = spellings(secret).find((each) => text.includes(each));
    if (spelling === undefined) return [];
    const at = text.indexOf(spelling);
    const around = [
      text.slice(Math.max(0, at - AROUND), at),
      text.slice(at + spelling.length, at + spelling.length + AROUND),
    ];
    return [`${name}: ${around.join('***')}`];
  });
}

/** Characters of the text around a find that a report shows. */
const AROUND = 80;

function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [...new Set([secret, encodeURIComponent(secret), bytes.toString('hex'), bytes.toString('base64')])];
}
