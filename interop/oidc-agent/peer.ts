import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { createPerson } from '../harness/person.ts';

const SCOPE = 'openid profile offline_access storage.read:/ storage.stage:/';

/** Debian's oidc-agent: registers itself, signs a person in by the device flow, refreshes, narrows. */
const peer: Peer = {
  name: 'oidc-agent',
  components: ['identity'],
  install: (tools) => tools.needCommand('oidc-agent', ['oidc-agent-cli']),

  async quick(suite) {
    const agent = await startAgent(suite);
    try {
      const storage = suite.instance.endpoints.sites.hpc?.storage ?? '';
      await suite.check('registers itself and signs a person in by the device flow', () =>
        agent.generate('registered', []),
      );
      await suite.check('a token for one audience, with fewer and narrower scopes', async () => {
        const claims = claimsOf(
          await agent.token('registered', ['--scope', 'openid storage.read:/data', '--aud', storage]),
        );
        expectEqual(
          [claims.iss, claims.aud, claims.scope],
          [suite.instance.endpoints.issuer, storage, 'openid storage.read:/data'],
          'claims',
        );
      });
      await suite.check('the storage takes the token', async () => {
        const token = await agent.token('registered', ['--scope', 'storage.read:/', '--aud', storage]);
        const { stdout } = await suite.tools.succeed('curl', [
          ...['--silent', '--cacert', suite.instance.endpoints.ca, '--output', '/dev/null'],
          ...['--write-out', '%{http_code}', '--header', `Authorization: Bearer ${token}`, `${storage}/`],
        ]);
        expectEqual(stdout, '200', 'status');
      });
      for (const [kind, method] of [
        ['confidential', 'client_secret_basic'],
        ['public', 'none'],
      ] as const) {
        await suite.check(`a ${kind} client, registered beforehand`, async () => {
          const client = await register(suite, method);
          await agent.generate(kind, [
            '--manual',
            `--client-id=${client.client_id}`,
            `--client-secret=${client.client_secret ?? ''}`,
          ]);
          // Twice: the refresh token of a public client is a new one each time, and the agent has to follow.
          for (let turn = 0; turn < 2; turn++) {
            const claims = claimsOf(await agent.token(kind, ['--force-new', '--aud', storage]));
            expectEqual([claims.client_id, claims.aud], [client.client_id, storage], 'claims');
          }
        });
      }
    } finally {
      await agent.stop();
    }
  },
};

export default peer;

interface Agent {
  /** Makes an account configuration; alice allows it in her browser. */
  generate(name: string, args: readonly string[]): Promise<void>;
  token(name: string, args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

async function startAgent(suite: Suite): Promise<Agent> {
  const { endpoints } = suite.instance;
  const folder = path.join(suite.folder, '.oidc-agent');
  mkdirSync(folder, { mode: 0o700 });
  const home = { HOME: suite.folder, OIDC_CONFIG_DIR: folder };
  const { stdout } = await suite.tools.succeed('oidc-agent', ['--quiet'], { env: home });
  const [, socket = ''] = /OIDC_SOCK=([^;]+);/.exec(stdout) ?? [];
  const [, pid = ''] = /OIDCD_PID=(\d+);/.exec(stdout) ?? [];
  const env = { ...home, OIDC_SOCK: socket, OIDCD_PID: pid };

  return {
    async generate(name, args) {
      const child = spawn(
        'oidc-gen',
        [
          ...[name, `--iss=${endpoints.issuer}`, `--scope=${SCOPE}`, '--flow=device', `--cp=${endpoints.ca}`],
          ...['--no-url-call', '--no-save', '--confirm-default', '--prompt=none', ...args],
        ],
        { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
      );
      let said = '';
      const ended = once(child, 'close');
      const shown = new Promise<string>((resolve, reject) => {
        const look = (chunk: Buffer) => {
          said += chunk.toString();
          const code = /enter the code: (\S+)/.exec(said)?.[1];
          if (code !== undefined) resolve(code);
        };
        child.stdout.on('data', look);
        child.stderr.on('data', look);
        child.on('error', reject);
        child.on('close', () => reject(new Error(`oidc-gen showed no code: ${said}`)));
      });
      const timer = setTimeout(() => child.kill(), 45_000);
      await allow(suite, await shown);
      const [code] = await ended;
      clearTimeout(timer);
      expectEqual(code, 0, `oidc-gen: ${stripVTControlCharacters(said).slice(-500)}`);
    },
    async token(name, args) {
      const output = await suite.tools.succeed('oidc-token', [name, ...args], { env });
      return output.stdout.trim();
    },
    async stop() {
      await suite.tools.succeed('oidc-agent', ['--kill'], { env });
    },
  };
}

/** What alice does when a device shows her a code. */
async function allow({ instance }: Suite, code: string): Promise<void> {
  const { issuer, ca } = instance.endpoints;
  const password = readFileSync(path.join(instance.data, 'secrets', 'user-alice.secret'), 'utf8').trim();
  const alice = createPerson({ ca: readFileSync(ca), origins: [issuer] });
  const first = await alice.get(`${issuer}/device?user_code=${code}`);
  expectMatch(first.text, /<h1>Sign in<\/h1>/, 'sign-in page');
  const question = await alice.submit({ username: 'alice', password });
  expectMatch(question.text, new RegExp(`The code is <strong>${code}`), 'confirmation');
  const answer = await alice.submit({ decision: 'allow' });
  expectMatch(answer.text, /<h1>Allowed<\/h1>/, 'answer');
}

const registeredSchema = z.looseObject({ client_id: z.string(), client_secret: z.string().optional() });

async function register({ instance, tools }: Suite, method: string) {
  const metadata = {
    client_name: `oidc-agent ${method}`,
    grant_types: ['refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    token_endpoint_auth_method: method,
  };
  const { stdout } = await tools.succeed('curl', [
    ...['--silent', '--fail', '--cacert', instance.endpoints.ca, '--json', JSON.stringify(metadata)],
    `${instance.endpoints.issuer}/register`,
  ]);
  return registeredSchema.parse(JSON.parse(stdout));
}

const claimsSchema = z.looseObject({
  iss: z.string(),
  aud: z.union([z.string(), z.array(z.string())]),
  scope: z.string(),
  client_id: z.string(),
});

function claimsOf(token: string): z.output<typeof claimsSchema> {
  return claimsSchema.parse(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()));
}
