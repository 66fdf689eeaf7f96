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
      // Every device flow takes five seconds: the first poll. They go on side by side.
      await Promise.all([
        suite.check('registers itself and signs a person in by the device flow', () =>
          agent.generate('registered', []),
        ),
        suite.check('registers itself and signs a person in by the code flow', () =>
          agent.generateByCode('by-code'),
        ),
        ...(
          [
            ['confidential', 'client_secret_basic'],
            ['public', 'none'],
          ] as const
        ).map(([kind, method]) =>
          suite.check(`a ${kind} client that was registered beforehand, by the device flow`, async () => {
            const client = await register(suite, method);
            await agent.generate(kind, [
              '--manual',
              `--client-id=${client.client_id}`,
              `--client-secret=${client.client_secret ?? ''}`,
            ]);
          }),
        ),
        suite.check('by password, as the test rigs of Teapot and FTS sign in', () =>
          agent.byPassword('password'),
        ),
        suite.check('weft client-config makes an account by each of its two ways', () =>
          byClientConfig(suite, agent),
        ),
      ]);
      for (const name of ['registered', 'by-code', 'confidential', 'public', 'password']) {
        await suite.check(
          `${name}: tokens for one audience, with fewer and narrower scopes, again and again`,
          () => narrowTokens(suite, agent, name),
        );
      }
      await suite.check('the storage takes the token', async () => {
        const storage = suite.instance.endpoints.sites.hpc?.storage ?? '';
        const token = await agent.token('registered', ['--scope', 'storage.read:/', '--aud', storage]);
        const { stdout } = await suite.tools.succeed('curl', [
          ...['--silent', '--cacert', suite.instance.endpoints.ca, '--output', '/dev/null'],
          ...['--write-out', '%{http_code}', '--header', `Authorization: Bearer ${token}`, `${storage}/`],
        ]);
        expectEqual(stdout, '200', 'status');
      });
    } finally {
      await agent.stop();
    }
  },
};

export default peer;

/** Twice: the refresh token of a public client is a new one each time, and the agent has to follow. */
async function narrowTokens({ instance }: Suite, agent: Agent, name: string): Promise<void> {
  const { issuer, datalake, sites } = instance.endpoints;
  const storage = sites.hpc?.storage ?? '';
  const narrow = ['--force-new', '--scope', 'openid storage.read:/data', '--aud', storage];
  const first = claimsOf(await agent.token(name, narrow));
  expectEqual(
    [first.iss, first.aud, first.scope],
    [issuer, storage, 'openid storage.read:/data'],
    'for the storage',
  );
  const second = claimsOf(
    await agent.token(name, ['--force-new', '--scope', 'openid profile', '--aud', datalake]),
  );
  expectEqual(
    [second.aud, second.scope, second.client_id],
    [datalake, 'openid profile', first.client_id],
    'for the datalake',
  );
  const both = claimsOf(await agent.token(name, ['--force-new', '--aud', `${storage} ${datalake}`]));
  expectEqual([...[both.aud].flat()].sort(), [storage, datalake].sort(), 'two audiences');
}

/** The line that the command prints, in a shell, as a person would run it. */
async function byClientConfig({ instance, folder }: Suite, agent: Agent): Promise<void> {
  const out = path.join(folder, 'client-config');
  const line = (await instance.weft('client-config', 'oidc-agent', '--out', out)).trim();
  expectMatch(line, /^eval "\$\(oidc-agent\)" && sh \S+\/oidc-agent\.sh$/, 'the line to run');
  const script = line.replace(/^.* && sh /, '');
  const storage = instance.endpoints.sites.hpc?.storage ?? '';
  const wanted = 'storage.create:/rucio/drought/x';
  await Promise.all(
    ['register', 'public'].map(async (how) => {
      await agent.allowed('sh', [script, how, `by-${how}`, ...UNATTENDED]);
      const token = await agent.token(`by-${how}`, ['--aud', storage, '--scope', wanted]);
      expectEqual(claimsOf(token).scope, wanted, how);
    }),
  );
}

interface Agent {
  /** Makes an account configuration; alice allows it in her browser. */
  generate(name: string, args: readonly string[]): Promise<void>;
  /** The same with a redirect to the agent's own little server. */
  generateByCode(name: string): Promise<void>;
  /** The same with alice's password, as the public client that the issuer knows. */
  byPassword(name: string): Promise<void>;
  /** Runs a command that shows a code; alice allows it. */
  allowed(command: string, args: readonly string[]): Promise<void>;
  token(name: string, args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** oidc-gen without anybody at its terminal. */
const UNATTENDED = ['--no-url-call', '--no-save', '--confirm-default', '--prompt=none'];

async function startAgent(suite: Suite): Promise<Agent> {
  const { endpoints } = suite.instance;
  const folder = path.join(suite.folder, '.oidc-agent');
  mkdirSync(folder, { mode: 0o700 });
  const home = { HOME: suite.folder, OIDC_CONFIG_DIR: folder };
  const { stdout } = await suite.tools.succeed('oidc-agent', ['--quiet'], { env: home });
  const [, socket = ''] = /OIDC_SOCK=([^;]+);/.exec(stdout) ?? [];
  const [, pid = ''] = /OIDCD_PID=(\d+);/.exec(stdout) ?? [];
  const env = { ...home, OIDC_SOCK: socket, OIDCD_PID: pid };
  const common = (name: string, flow: string) => [
    ...[name, `--iss=${endpoints.issuer}`, `--scope=${SCOPE}`, `--flow=${flow}`, `--cp=${endpoints.ca}`],
    ...UNATTENDED,
  ];

  /** Runs a command; once it has said `wanted`, does what a person does then; waits for its end. */
  async function attended(
    command: string,
    args: readonly string[],
    wanted: RegExp,
    act: (found: string) => Promise<void>,
  ): Promise<void> {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    const ended = once(child, 'close');
    const shown = new Promise<string>((resolve, reject) => {
      const look = (chunk: Buffer) => {
        said += chunk.toString();
        const found = wanted.exec(stripVTControlCharacters(said))?.[1];
        if (found !== undefined) resolve(found);
      };
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      child.on('error', reject);
      child.on('close', () => reject(new Error(`${command} did not say ${wanted}: ${said}`)));
    });
    const timer = setTimeout(() => child.kill(), 180_000);
    await act(await shown);
    const [code] = await ended;
    clearTimeout(timer);
    expectEqual(code, 0, `${command}: ${stripVTControlCharacters(said).slice(-500)}`);
  }

  const allowed: Agent['allowed'] = (command, args) =>
    attended(command, args, /enter the code: (\S+)/, (code) => allow(suite, code));
  return {
    allowed,
    generate: (name, args) => allowed('oidc-gen', [...common(name, 'device'), ...args]),
    generateByCode: (name) =>
      attended('oidc-gen', common(name, 'code'), /(https:\/\/\S+\/authorize\?\S+)/, async (address) => {
        const back = await allowInBrowser(suite, address);
        // The end of her way: the server of the agent on loopback.
        await suite.tools.succeed('curl', ['--silent', '--fail', '--output', '/dev/null', back.href]);
      }),
    async byPassword(name) {
      await suite.tools.succeed(
        'oidc-gen',
        [
          ...common(name, 'password'),
          ...['--manual', '--client-id=oidc-agent', '--client-secret=', '--op-username=alice'],
          `--op-password=${passwordOfAlice(suite)}`,
        ],
        { env },
      );
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

/** alice opens the address that the agent shows, signs in and allows; gives where she is led. */
async function allowInBrowser(suite: Suite, address: string): Promise<URL> {
  const { issuer, ca } = suite.instance.endpoints;
  const alice = createPerson({ ca: readFileSync(ca), origins: [issuer] });
  await alice.get(address);
  const asked = await alice.submit({ username: 'alice', password: passwordOfAlice(suite) });
  const { leaving } = asked.leaving === undefined ? await alice.submit({ decision: 'allow' }) : asked;
  if (leaving === undefined) throw new Error(`alice is led nowhere: ${asked.text}`);
  return leaving;
}

const passwordOfAlice = ({ instance }: Suite) =>
  readFileSync(path.join(instance.data, 'secrets', 'user-alice.secret'), 'utf8').trim();

/** What alice does when a device shows her a code. */
async function allow(suite: Suite, code: string): Promise<void> {
  const { issuer, ca } = suite.instance.endpoints;
  const alice = createPerson({ ca: readFileSync(ca), origins: [issuer] });
  const first = await alice.get(`${issuer}/device?user_code=${code}`);
  expectMatch(first.text, /<h1>Sign in<\/h1>/, 'sign-in page');
  const question = await alice.submit({ username: 'alice', password: passwordOfAlice(suite) });
  expectMatch(question.text, new RegExp(`class="code">${code}<`), 'confirmation');
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
