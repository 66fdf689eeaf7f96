import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite } from './peer.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

/** `weft serve` in a process of its own, as a site runs it, with a database of its own and the instance's certificate. */
export async function serveWeft(
  suite: Suite,
  components: readonly string[],
  configuration: object,
  /** Ready when all of these listeners are. */
  urls: readonly string[],
): Promise<{ stop(): Promise<void> }> {
  const folder = path.join(suite.folder, 'service');
  // PostgreSQL has an account of its own, which must be able to pass.
  chmodSync(suite.folder, 0o711);
  mkdirSync(folder, { mode: 0o711 });
  const file = (name: string, content: string | Uint8Array) => {
    const target = path.join(suite.folder, name);
    writeFileSync(target, content, { mode: 0o600 });
    return target;
  };
  const whole = {
    data_folder: folder,
    database: 'embedded',
    secret_key_file: file('secret.key', randomBytes(32)),
    tls: {
      certificate_file: path.join(suite.instance.data, 'pki', 'server.pem'),
      key_file: path.join(suite.instance.data, 'pki', 'server.key'),
    },
    ...configuration,
  };
  const child = spawn(
    path.join(ROOT, 'weft'),
    ['serve', ...components, '--config', file('weft.yaml', JSON.stringify(whole))],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
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
  const allReady = async () => {
    const asked = urls.map((url) =>
      suite.tools.run('curl', [
        ...['--silent', '--fail', '--cacert', suite.instance.endpoints.ca, `${url}/.weft/ready`],
      ]),
    );
    return (await Promise.all(asked)).every(({ code }) => code === 0);
  };
  for (const until = Date.now() + 180_000; !(await allReady()); ) {
    if (child.exitCode !== null || Date.now() > until) {
      await stop();
      throw new Error(`weft serve ${components.join(' ')} did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { stop };
}
