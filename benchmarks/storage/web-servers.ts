import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, connect as tcpConnect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server that we did not write, over a folder of its own, with the certificate that ours has. */
export interface WebServer {
  readonly name: string;
  readonly url: string;
  /** What it serves. */
  readonly root: string;
  /** Its first process; the others are below it. */
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

/** Why a peer cannot be had on this machine. */
export class NoPeer extends Error {
  override readonly name = 'NoPeer';
}

/** One for all: what both sides write to their access logs goes nowhere, after it was written. */
const NOWHERE = '/dev/null';

/** Debian's nginx with its defaults for files and bodies, and PUT. */
export async function startNginx(folder: string, tls: Certificate): Promise<WebServer> {
  needCommand('nginx', ['nginx']);
  const { root, port, file } = await prepare(folder, 'nginx');
  const temporary = path.join(folder, 'nginx-tmp');
  mkdirSync(temporary, { recursive: true, mode: 0o777 });
  chmodSync(temporary, 0o777);
  const asRoot = process.getuid?.() === 0;
  writeFileSync(
    file,
    `${asRoot ? 'user nobody nogroup;' : ''}
worker_processes 2;
daemon off;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 512; }
http {
  access_log ${NOWHERE};
  sendfile on;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_temp_path ${temporary};
  proxy_temp_path ${temporary}/proxy; fastcgi_temp_path ${temporary}/fastcgi;
  uwsgi_temp_path ${temporary}/uwsgi; scgi_temp_path ${temporary}/scgi;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${tls.certificate};
    ssl_certificate_key ${tls.key};
    ssl_protocols TLSv1.3;
    root ${root};
    location / { dav_methods PUT DELETE; create_full_put_path on; }
  }
}
`,
  );
  return start('nginx', root, port, spawn('nginx', ['-c', file, '-p', folder], { stdio: QUIET }));
}

/** Debian's Apache with mod_dav, locks included, as litmus needs it, on the event module. */
export async function startApache(folder: string, tls: Certificate): Promise<WebServer> {
  needCommand('apache2', ['apache2-bin']);
  const { root, port, file } = await prepare(folder, 'apache');
  const modules = [
    'mpm_event',
    'authz_core',
    'authn_core',
    'dav',
    'dav_fs',
    'dav_lock',
    'ssl',
    'mime',
    'socache_shmcb',
  ];
  const locks = path.join(folder, 'apache-locks');
  mkdirSync(locks, { recursive: true });
  chmodSync(locks, 0o777);
  const asRoot = process.getuid?.() === 0;
  writeFileSync(
    file,
    `${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
ServerRoot ${folder}
ServerName localhost
PidFile ${folder}/apache.pid
DefaultRuntimeDir ${folder}
${asRoot ? 'User nobody\nGroup nogroup' : ''}
Listen 127.0.0.1:${port}
ErrorLog ${folder}/apache.log
LogLevel crit
LogFormat "%h %l %u %t \\"%r\\" %>s %O" common
StartServers 2
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 75
TypesConfig /etc/mime.types
DavLockDB ${locks}/db
SSLEngine on
SSLProtocol TLSv1.3
SSLCertificateFile ${tls.certificate}
SSLCertificateKeyFile ${tls.key}
DocumentRoot ${root}
CustomLog ${NOWHERE} common
<Directory ${root}>
  Dav On
  Require all granted
  AllowOverride None
</Directory>
`,
  );
  if (!existsSync('/etc/mime.types')) needFile('/etc/mime.types', ['media-types']);
  return start('Apache', root, port, spawn('apache2', ['-f', file, '-DFOREGROUND'], { stdio: QUIET }));
}

/** Debian's XRootD as an HTTP server; it does not run as root. */
export async function startXrootd(folder: string, tls: Certificate): Promise<WebServer> {
  needCommand('xrootd', ['xrootd-server', 'xrootd-plugins']);
  const { root, port, file } = await prepare(folder, 'xrootd');
  const own = path.join(folder, 'xrootd-own');
  mkdirSync(path.join(own, 'admin'), { recursive: true });
  const asRoot = process.getuid?.() === 0;
  for (const [name, source] of [
    ['cert.pem', tls.certificate],
    ['key.pem', tls.key],
    ['ca.pem', tls.authority],
  ] as const) {
    execFileSync('install', ['-m', '400', source, path.join(own, name)]);
  }
  if (asRoot) execFileSync('chown', ['-R', 'xrootd', own, root]);
  writeFileSync(
    file,
    `all.export /
oss.localroot ${root}
all.adminpath ${own}/admin
all.pidpath ${own}
xrd.port ${port}
xrd.network nodnr
xrd.protocol http:${port} libXrdHttp.so
xrd.tls ${own}/cert.pem ${own}/key.pem
xrd.tlsca certfile ${own}/ca.pem
xrootd.chksum adler32
`,
  );
  const child = spawn('xrootd', [...(asRoot ? ['-R', 'xrootd'] : []), '-c', file, '-l', `${own}/log`], {
    stdio: QUIET,
    cwd: own,
  });
  return start('XRootD', root, port, child);
}

const QUIET: StdioOptions = ['ignore', 'ignore', 'pipe'];

async function prepare(folder: string, name: string): Promise<{ root: string; port: number; file: string }> {
  const root = path.join(folder, `${name}-root`);
  mkdirSync(root, { recursive: true });
  chmodSync(root, 0o777);
  return { root, port: await freePort(), file: path.join(folder, `${name}.conf`) };
}

async function start(name: string, root: string, port: number, child: ChildProcess): Promise<WebServer> {
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-500);
  });
  const ended = once(child, 'exit');
  for (let tries = 0; !(await answers(port)); tries++) {
    if (child.exitCode !== null || tries === 100) {
      child.kill('SIGKILL');
      throw new NoPeer(`${name} did not start: ${complaint.trim().split('\n').at(-1) ?? ''}`);
    }
    await sleep(50);
  }
  return {
    name,
    root,
    url: `https://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tcpConnect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Installs Debian's packages when a command is missing and we may. @throws {NoPeer} */
export function needCommand(command: string, packages: readonly string[]): void {
  if (commandExists(command)) return;
  install(packages, () => commandExists(command));
}

function needFile(file: string, packages: readonly string[]): void {
  install(packages, () => existsSync(file));
}

function install(packages: readonly string[], present: () => boolean): void {
  if (process.getuid?.() !== 0 || !commandExists('apt-get'))
    throw new NoPeer(`apt-get install ${packages.join(' ')} needs root on Debian`);
  // No daemon that a package brings along may start: the machine is about to be measured.
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
    execFileSync('sh', ['-c', `${command} || { apt-get update && ${command}; }`], { env, stdio: 'ignore' });
  } catch {
    throw new NoPeer(`apt-get install ${packages.join(' ')} failed`);
  } finally {
    if (ours) execFileSync('rm', ['-f', policy]);
  }
  if (!present()) throw new NoPeer(`${packages.join(' ')} did not bring what was needed`);
}

function commandExists(command: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$1"', 'sh', command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a port has no number');
  return address.port;
}
