import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, ensureAuthority } from './authority.ts';
import { subjectHash } from './openssl-folder.ts';

let folder: string;
let authority: Authority;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-pki-'));
  authority = await ensureAuthority(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the local authority', () => {
  it('keeps its key from other users and is the same after a restart', async () => {
    expect(statSync(path.join(folder, 'ca.key')).mode & 0o777).toBe(0o600);
    expect((await ensureAuthority(folder)).certificate).toBe(authority.certificate);
  });

  it('signs server certificates that a TLS client accepts for each of their hosts', async () => {
    const tls = await authority.ensureServerCertificate('site', {
      commonName: 'localhost',
      hosts: ['localhost', '127.0.0.1', '127.0.0.11'],
    });
    const server = createServer({ cert: tls.certificate, key: tls.key }, (_request, response) =>
      response.end('ok'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    const get = (servername: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        request(
          {
            host: '127.0.0.1',
            port: address.port,
            servername,
            ca: authority.certificate,
            headers: { host: servername },
          },
          (response) => resolve(response.resume().statusCode),
        )
          .on('error', reject)
          .end();
      });
    expect(await get('localhost')).toBe(200);
    await expect(get('other.example')).rejects.toThrow(/altnames/);
    server.close();
  });

  it('keeps a certificate while its hosts stay the same, and makes a new one when they change', async () => {
    const first = await authority.ensureServerCertificate('stable', {
      commonName: 'a',
      hosts: ['a.example'],
    });
    const again = await authority.ensureServerCertificate('stable', {
      commonName: 'a',
      hosts: ['a.example'],
    });
    const moved = await authority.ensureServerCertificate('stable', {
      commonName: 'a',
      hosts: ['b.example'],
    });
    expect(again.certificate).toBe(first.certificate);
    expect(moved.certificate).not.toBe(first.certificate);
  });

  it('issues client certificates that name the person, and only the person', async () => {
    const { certificate, key } = await authority.issueClientCertificate('Alice, O=Evil+CN=root');
    const leaf = new X509Certificate(certificate);
    expect(leaf.checkIssued(new X509Certificate(authority.certificate))).toBe(true);
    expect(leaf.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(leaf.toLegacyObject().subject).toMatchObject({ O: 'Weft', CN: 'Alice, O=Evil+CN=root' });
    expect(leaf.ca).toBe(false);
  });

  it('publishes the folder that OpenSSL looks certificates up in', () => {
    const names = readdirSync(authority.certificatesFolder).sort();
    expect(names).toHaveLength(3);
    const [hashed] = names;
    expect(hashed).toMatch(/^[0-9a-f]{8}\.0$/);
    expect(readFileSync(path.join(authority.certificatesFolder, String(hashed)), 'utf8')).toBe(
      authority.certificate,
    );
  });

  it('computes the subject hash as OpenSSL does', () => {
    // What `openssl x509 -noout -subject_hash` (3.0) prints for the subject /O=Weft/CN=Weft local CA 0badcafe.
    const hash = subjectHash([
      { type: 'O', value: 'Weft' },
      { type: 'CN', value: 'Weft local CA 0badcafe' },
    ]);
    expect(hash).toBe('554a61af');
  });
});
