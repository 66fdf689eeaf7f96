import { appendFileSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite } from '../harness/peer.ts';

interface Wanted {
  subject: string;
  /** Who signs; itself when absent. */
  by?: string;
  /** Section of an OpenSSL configuration. */
  extensions?: string;
  notBefore?: string;
  notAfter?: string;
  rsaBits?: number;
  digest?: string;
}

/** Certificates made with OpenSSL, the folders that trust them, and OpenSSL's verdict about chains of them. */
export interface Certificates {
  /** For `X509_CERT_DIR`. */
  readonly authorities: string;
  /** For `X509_VOMS_DIR`. */
  readonly vomsServers: string;
  file(name: string): string;
  make(name: string, wanted: Wanted): Promise<void>;
  trust(name: string, subjects: string): Promise<void>;
  revoke(authority: string, name: string): Promise<void>;
  /** Writes `<hash>.r0` of an authority. */
  publishRevocations(authority: string): Promise<void>;
  /** A file for `curl --cert`, leaf first. */
  chain(names: readonly string[]): string;
  opensslTakes(names: readonly string[], check?: string): Promise<boolean>;
}

export const BASE = '/DC=org/DC=example';
export const AUTHORITY = 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign';
export const USER = 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment';
export const PROXY = 'keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:id-ppl-inheritAll';
export const PAST = '20210101000000Z';

const CONFIGURATION = `
[ca]
default_ca = default
[default]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
preserve = yes
unique_subject = no
default_crl_days = 3650
[any]
domainComponent = optional
organizationName = optional
commonName = optional
`;

export function createCertificates({ folder: base, tools }: Suite): Certificates {
  const folder = path.join(base, 'pki');
  const authorities = path.join(folder, 'certificates');
  const vomsServers = path.join(folder, 'vomsdir');
  mkdirSync(authorities, { recursive: true });
  mkdirSync(vomsServers);
  const file = (name: string) => path.join(folder, name);
  writeFileSync(file('index.txt'), '');
  const openssl = (...args: string[]) => tools.succeed('openssl', args, { cwd: folder });
  const hashOf = async (name: string) =>
    (await openssl('x509', '-hash', '-noout', '-in', `${name}.pem`)).stdout.trim();
  const asAuthority = (name: string) => ['-cert', `${name}.pem`, '-keyfile', `${name}.key`];

  return {
    authorities,
    vomsServers,
    file,
    /** `openssl ca` alone of OpenSSL's commands takes any validity. */
    async make(name, { subject, by = name, extensions = '', rsaBits, digest = 'sha256', ...validity }) {
      const kind = rsaBits ? [`rsa:${rsaBits}`] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
      const request = ['-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject];
      await openssl('req', '-newkey', ...kind, ...request);
      writeFileSync(file(`${name}.cnf`), `${CONFIGURATION}\n[ext]\n${extensions}\n`);
      const signer = by === name ? ['-selfsign', '-keyfile', `${name}.key`] : asAuthority(by);
      await openssl(
        ...['ca', '-batch', '-notext', '-md', digest, '-config', `${name}.cnf`, '-extensions', 'ext'],
        ...[
          '-in',
          `${name}.csr`,
          '-out',
          `${name}.pem`,
          '-startdate',
          validity.notBefore ?? '20200101000000Z',
        ],
        ...['-enddate', validity.notAfter ?? '20400101000000Z', ...signer],
      );
    },
    async trust(name, subjects) {
      const hash = await hashOf(name);
      const { stdout } = await openssl(
        'x509',
        '-subject',
        '-noout',
        '-nameopt',
        'compat',
        '-in',
        `${name}.pem`,
      );
      copyFileSync(file(`${name}.pem`), path.join(authorities, `${hash}.0`));
      writeFileSync(
        path.join(authorities, `${hash}.signing_policy`),
        `access_id_CA X509 '${stdout.trim().replace('subject=', '')}'\n` +
          `pos_rights globus CA:sign\ncond_subjects globus '"${subjects}"'\n`,
      );
    },
    async revoke(authority, name) {
      await openssl('ca', '-config', `${authority}.cnf`, ...asAuthority(authority), '-revoke', `${name}.pem`);
    },
    async publishRevocations(authority) {
      const list = path.join(authorities, `${await hashOf(authority)}.r0`);
      await openssl('ca', '-config', `${authority}.cnf`, ...asAuthority(authority), '-gencrl', '-out', list);
    },
    chain(names) {
      const target = file(`${names.join('+')}.chain`);
      writeFileSync(target, '');
      for (const name of names) appendFileSync(target, readFileSync(file(`${name}.pem`)));
      return target;
    },
    async opensslTakes([leaf = '', ...rest], check = '-crl_check_all') {
      writeFileSync(file('sent.pem'), rest.map((name) => readFileSync(file(`${name}.pem`), 'utf8')).join(''));
      // OpenSSL takes no empty file.
      const untrusted = rest.length > 0 ? ['-untrusted', 'sent.pem'] : [];
      const how = ['-allow_proxy_certs', '-purpose', 'sslclient', check, '-CApath', authorities];
      const { code } = await tools.run('openssl', ['verify', ...how, ...untrusted, `${leaf}.pem`], {
        cwd: folder,
      });
      return code === 0;
    },
  };
}
