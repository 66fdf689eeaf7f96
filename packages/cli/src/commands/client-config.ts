import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { locateDataFolder, writePrivateFile } from '../data-folder.ts';
import { type Endpoints, endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { oidcAgentScript } from '../oidc-agent-script.ts';
import { userToken } from '../user-token.ts';

interface Written {
  /** File name to content. */
  readonly files: Readonly<Record<string, string>>;
  /** The one line to run next. */
  readonly run: string;
}

type Writer = (context: { endpoints: Endpoints; user: string; token: string; out: string }) => Written;

const WRITERS: Readonly<Record<string, Writer>> = {
  rucio: ({ endpoints, user, token, out }) => ({
    files: {
      'rucio.token': token,
      'rucio.cfg': [
        '[client]',
        `rucio_host = ${endpoints.datalake}`,
        `auth_host = ${endpoints.datalake}`,
        `ca_cert = ${endpoints.ca}`,
        'auth_type = oidc',
        `account = ${user === 'admin' ? 'root' : user}`,
        `auth_token_file_path = ${path.join(out, 'rucio.token')}`,
        '[policy]',
        'permission = generic',
        'schema = generic',
        'lfn2pfn_algorithm_default = hash',
        '',
      ].join('\n'),
    },
    run: `RUCIO_CONFIG=${path.join(out, 'rucio.cfg')} REQUESTS_CA_BUNDLE=${endpoints.ca} rucio whoami`,
  }),
  fts: ({ endpoints, token, out }) => ({
    files: { 'fts.token': token },
    run: `fts-rest-whoami -s ${endpoints.transfer} --capath ${endpoints.ca_dir} --fts-access-token "$(cat ${path.join(out, 'fts.token')})"`,
  }),
  rclone: ({ endpoints, token, out }) => ({
    files: {
      'rclone.conf': Object.entries(endpoints.sites)
        .map(
          ([name, site]) =>
            `[${name}]\ntype = webdav\nurl = ${site.storage}\nvendor = other\nbearer_token = ${token}\n`,
        )
        .join('\n'),
    },
    run: `rclone --config ${path.join(out, 'rclone.conf')} --ca-cert ${endpoints.ca} lsf observatory:`,
  }),
  'oidc-agent': ({ endpoints, token, out }) => ({
    files: { 'oidc-agent.sh': oidcAgentScript(endpoints, token) },
    run: `eval "$(oidc-agent)" && sh ${path.join(out, 'oidc-agent.sh')}`,
  }),
  davix: ({ endpoints, token, out }) => {
    const [first] = Object.values(endpoints.sites);
    return {
      files: { 'davix.token': token },
      run: `davix-ls --capath ${endpoints.ca_dir} -H "Authorization: Bearer $(cat ${path.join(out, 'davix.token')})" ${first?.storage}/`,
    };
  },
};

/** Writes what a real client needs (0600: tokens are in it) and prints the line to run. */
export async function clientConfig(
  client: string,
  options: { data: string; portBase?: number; user: string; out: string },
): Promise<void> {
  const write = WRITERS[client];
  if (!write)
    throw new ExitError(64, `No configuration for ${client}. Clients: ${Object.keys(WRITERS).join(', ')}.`);
  const folder = locateDataFolder(options.data);
  const endpoints = endpointsOf(folder, options.portBase ?? readInstanceState(folder)?.portBase);
  const token = await userToken(folder, endpoints, { user: options.user });
  const out = path.resolve(options.out);
  mkdirSync(out, { recursive: true });
  const { files, run } = write({ endpoints, user: options.user, token, out });
  for (const [name, content] of Object.entries(files)) writePrivateFile(path.join(out, name), content);
  process.stdout.write(`${run}\n`);
}
