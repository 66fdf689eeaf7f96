import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Suite } from '../harness/peer.ts';
import { freePort } from '../harness/ports.ts';

const SYSTEM_AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';
const READY_MILLISECONDS = 180_000;

/** A data server of XRootD with HTTP, third-party copy and SciTokens. */
export interface XRootD {
  readonly url: string;
  /** Folder of its files. */
  readonly root: string;
  /** End of its log, for failures. */
  log(): string;
  stop(): Promise<void>;
}

/**
 * Starts XRootD as `nobody` (it refuses to be root), with the instance's issuer for every path and `audience` in the
 * tokens. The library that fetches the issuer's keys trusts the system's authorities alone: it gets a file of its own with
 * the instance's beside them, in a mount namespace where that is allowed, else among the system's until the end.
 */
export async function startXRootD(suite: Suite, audience: string): Promise<XRootD> {
  const { endpoints, data } = suite.instance;
  const folder = path.join(suite.folder, 'xrootd');
  const root = path.join(folder, 'files');
  for (const one of [folder, root, path.join(folder, 'run'), path.join(folder, 'cache')]) {
    mkdirSync(one, { recursive: true });
  }
  chmodSync(suite.folder, 0o755);
  copyFileSync(path.join(data, 'pki', 'server.pem'), path.join(folder, 'server.pem'));
  copyFileSync(path.join(data, 'pki', 'server.key'), path.join(folder, 'server.key'));
  chmodSync(path.join(folder, 'server.key'), 0o600);
  copyFileSync(endpoints.ca, path.join(folder, 'ca.pem'));
  const trusted = path.join(folder, 'trusted.pem');
  writeFileSync(trusted, readFileSync(SYSTEM_AUTHORITIES));
  appendFileSync(trusted, readFileSync(endpoints.ca));
  const [port, xrdPort] = [await freePort(), await freePort()];
  writeFileSync(
    path.join(folder, 'scitokens.cfg'),
    `[Global]\naudience = ${audience}\n\n[Issuer Weft]\nissuer = ${endpoints.issuer}\nbase_path = /\n`,
  );
  writeFileSync(path.join(folder, 'authdb'), '');
  writeFileSync(
    path.join(folder, 'xrootd.cfg'),
    [
      'all.export /',
      `all.adminpath ${folder}/run`,
      `all.pidpath ${folder}/run`,
      `oss.localroot ${root}`,
      `xrd.port ${xrdPort}`,
      `xrd.protocol http:${port} libXrdHttp.so`,
      `xrd.tls ${folder}/server.pem ${folder}/server.key`,
      `xrd.tlsca certfile ${folder}/ca.pem`,
      'http.desthttps yes',
      'http.header2cgi Authorization authz',
      'http.exthandler xrdtpc libXrdHttpTPC.so',
      'xrootd.chksum max 2 adler32 md5 crc32c',
      `acc.authdb ${folder}/authdb`,
      'ofs.authorize',
      `ofs.authlib libXrdAccSciTokens.so config=${folder}/scitokens.cfg`,
      '',
    ].join('\n'),
  );
  await suite.tools.succeed('chown', ['-R', 'nobody', folder]);
  const undo = await trustAuthority(suite, trusted);
  const log = path.join(folder, 'log');
  const env = { ...process.env, HOME: folder, XDG_CACHE_HOME: path.join(folder, 'cache') };
  const command = ['xrootd', '-R', 'nobody', '-c', path.join(folder, 'xrootd.cfg'), '-l', log];
  const server = undo
    ? spawn(command[0] ?? '', command.slice(1), { env, stdio: 'ignore' })
    : spawn(
        'unshare',
        [
          ...['--mount', 'sh', '-c', `mount --bind "$0" ${SYSTEM_AUTHORITIES} && exec "$@"`],
          ...[trusted, ...command],
        ],
        { env, stdio: 'ignore' },
      );
  const ended = once(server, 'exit');
  const url = `https://127.0.0.1:${port}`;
  const running: XRootD = {
    url,
    root,
    log: () => readFileSync(log, 'utf8').slice(-2000),
    stop: async () => {
      server.kill('SIGTERM');
      await ended;
      await undo?.();
    },
  };
  const deadline = performance.now() + READY_MILLISECONDS;
  for (;;) {
    const { code } = await suite.tools.run('curl', ['--silent', '--cacert', endpoints.ca, `${url}/`]);
    if (code === 0) return running;
    if (server.exitCode !== null || performance.now() > deadline) {
      const told = running.log();
      await running.stop();
      throw new Error(`XRootD does not answer:\n${told}`);
    }
    await sleep(100);
  }
}

/** Nothing to undo where a mount namespace can be had, as in most containers it cannot. */
async function trustAuthority(
  { tools, instance }: Suite,
  trusted: string,
): Promise<(() => Promise<void>) | undefined> {
  const test = `mount --bind "$0" ${SYSTEM_AUTHORITIES}`;
  if ((await tools.run('unshare', ['--mount', 'sh', '-c', test, trusted])).code === 0) return undefined;
  const file = '/usr/local/share/ca-certificates/weft-interop.crt';
  await tools.succeed('install', ['-D', '-m', '644', instance.endpoints.ca, file]);
  await tools.succeed('update-ca-certificates', []);
  return async () => {
    await tools.succeed('rm', [file]);
    await tools.succeed('update-ca-certificates', ['--fresh']);
  };
}
