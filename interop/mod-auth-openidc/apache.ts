import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite } from '../harness/peer.ts';

const MODULES = '/usr/lib/apache2/modules';

/** Apache in the foreground, with one page that mod_auth_openidc protects and one that anybody may see. */
export async function startApache(
  suite: Suite,
  { issuer, site, secret, port }: { issuer: string; site: string; secret: string; port: number },
): Promise<{ stop(): Promise<void> }> {
  const folder = path.join(suite.folder, 'apache');
  mkdirSync(path.join(folder, 'pages', 'protected'), { recursive: true });
  for (const each of [folder, path.join(folder, 'pages')]) chmodSync(each, 0o755);
  writeFileSync(path.join(folder, 'pages', 'bye'), 'Goodbye\n');
  // Server-side includes print what the module says about the person.
  writeFileSync(
    path.join(folder, 'pages', 'protected', 'page.shtml'),
    '<!--#echo var="OIDC_CLAIM_sub" --> <!--#echo var="OIDC_CLAIM_name" -->\n',
  );
  const pki = path.join(suite.instance.data, 'pki');
  for (const file of ['server.pem', 'server.key'])
    copyFileSync(path.join(pki, file), path.join(folder, file));
  const ca = path.join(folder, 'ca.pem');
  copyFileSync(suite.instance.endpoints.ca, ca);
  chmodSync(ca, 0o644);
  const configuration = path.join(folder, 'apache.conf');
  const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'alias', 'ssl', 'include', 'mime'];
  const lines = [
    ...modules.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    `LoadModule auth_openidc_module ${MODULES}/mod_auth_openidc.so`,
    ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
    `ServerRoot ${folder}`,
    'ServerName localhost',
    `PidFile ${folder}/apache.pid`,
    `DefaultRuntimeDir ${folder}`,
    `ErrorLog ${folder}/error.log`,
    'LogLevel warn',
    `Listen 127.0.0.1:${port}`,
    'SSLEngine on',
    `SSLCertificateFile ${folder}/server.pem`,
    `SSLCertificateKeyFile ${folder}/server.key`,
    `DocumentRoot ${folder}/pages`,
    `Alias /protected/page ${folder}/pages/protected/page.shtml`,
    'TypesConfig /dev/null',
    'AddType text/html .shtml',
    'AddOutputFilter INCLUDES .shtml',
    `OIDCProviderMetadataURL ${issuer}/.well-known/openid-configuration`,
    `OIDCCABundlePath ${ca}`,
    'OIDCClientID apache',
    `OIDCClientSecret ${secret}`,
    `OIDCRedirectURI ${site}/protected/callback`,
    `OIDCCryptoPassphrase ${randomBytes(24).toString('hex')}`,
    'OIDCScope "openid profile"',
    'OIDCPKCEMethod S256',
    'OIDCRemoteUserClaim sub',
    '<Location /protected>',
    'AuthType openid-connect',
    'Require valid-user',
    'Options +Includes',
    '</Location>',
    '<Location /bye>',
    'Require all granted',
    '</Location>',
  ];
  writeFileSync(configuration, `${lines.join('\n')}\n`, { mode: 0o600 });
  const child = spawn('/usr/sbin/apache2', ['-f', configuration, '-DFOREGROUND'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  const isUp = async () =>
    (await suite.tools.run('curl', ['--silent', '--fail', '--cacert', ca, `${site}/bye`])).code === 0;
  for (const until = Date.now() + 20_000; !(await isUp()); ) {
    if (child.exitCode !== null || Date.now() > until) {
      await stop();
      const log = readFileSync(path.join(folder, 'error.log'), 'utf8');
      throw new Error(`Apache did not start:\n${said}${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { stop };
}
