import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';

/** A certificate that a test made, with its key. */
export interface TestCertificate {
  readonly certificate: X509Certificate;
  readonly pem: string;
  readonly key: KeyObject;
  /** One-line form. */
  readonly subject: string;
  readonly serial: Buffer;
}

export interface WantedCertificate {
  /** One-line form: `/DC=org/DC=example/CN=Alice`. */
  subject: string;
  /** Whose key signs; its own when absent. */
  by?: TestCertificate;
  /** The name of the issuer, when it is not that of `by`. */
  issuer?: string;
  extensions?: readonly Buffer[];
  notBefore?: Date;
  notAfter?: Date;
  /** RSA with so many bits, instead of P-256. */
  rsaBits?: number;
  digest?: 'sha256' | 'sha1';
}

const DAY = 86_400_000;

/**
 * Makes a certificate: any names, any extensions, any validity, which libraries and OpenSSL's commands would refuse to make.
 *
 * @example
 * const root = makeCertificate({ subject: '/CN=Root', extensions: AUTHORITY });
 * const alice = makeCertificate({ subject: '/CN=Alice', by: root, extensions: USER });
 * const proxy = makeProxy(alice);
 */
export function makeCertificate(wanted: WantedCertificate): TestCertificate {
  const { publicKey, privateKey } = wanted.rsaBits
    ? generateKeyPairSync('rsa', { modulusLength: wanted.rsaBits })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = wanted.by?.key ?? privateKey;
  const { algorithm, digest } = algorithmOf(signer, wanted.digest ?? 'sha256');
  const serial = Buffer.concat([Buffer.of(0x40), randomBytes(15)]);
  const content = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    algorithm,
    name(wanted.issuer ?? wanted.by?.subject ?? wanted.subject),
    sequence(
      time(wanted.notBefore ?? new Date(Date.now() - DAY)),
      time(wanted.notAfter ?? new Date(Date.now() + 30 * DAY)),
    ),
    name(wanted.subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(wanted.extensions?.length ? [der(0xa3, sequence(...wanted.extensions))] : []),
  );
  const certificate = new X509Certificate(sequence(content, algorithm, bits(sign(digest, content, signer))));
  return { certificate, pem: certificate.toString(), key: privateKey, subject: wanted.subject, serial };
}

export interface WantedProxy extends Partial<WantedCertificate> {
  /** Dotted identifier. Default: inherits everything. */
  language?: string;
  /** How many proxies may follow. */
  pathLength?: number;
}

/** A proxy (RFC 3820) of a certificate, or of another proxy. */
export function makeProxy(
  of: TestCertificate,
  { language = '1.3.6.1.5.5.7.21.1', pathLength, extensions = [], ...rest }: WantedProxy = {},
): TestCertificate {
  const limit = pathLength === undefined ? [] : [der(0x02, Buffer.of(pathLength))];
  return makeCertificate({
    subject: `${of.subject}/CN=${randomBytes(4).readUInt32BE()}`,
    by: of,
    extensions: [
      keyUsage(0),
      extension('1.3.6.1.5.5.7.1.14', true, sequence(...limit, sequence(objectIdentifier(language)))),
      ...extensions,
    ],
    ...rest,
  });
}

/** Revocation list of an authority, in DER. */
export function makeRevocationList(
  authority: TestCertificate,
  revoked: readonly TestCertificate[],
  options: { nextUpdate?: Date; extensions?: readonly Buffer[]; by?: TestCertificate } = {},
): Buffer {
  const { algorithm, digest } = algorithmOf((options.by ?? authority).key, 'sha256');
  const now = new Date(Date.now() - 60_000);
  const entries = revoked.map(({ serial }) => sequence(der(0x02, serial), time(now)));
  const content = sequence(
    der(0x02, Buffer.of(1)),
    algorithm,
    name(authority.subject),
    time(now),
    time(options.nextUpdate ?? new Date(Date.now() + 30 * DAY)),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    ...(options.extensions?.length ? [der(0xa0, sequence(...options.extensions))] : []),
  );
  return sequence(content, algorithm, bits(sign(digest, content, (options.by ?? authority).key)));
}

export interface WantedAttributes {
  holder: TestCertificate;
  /** The VOMS server. */
  by: TestCertificate;
  vo: string;
  fqans: readonly string[];
  notBefore?: Date;
  notAfter?: Date;
  /** Name of the holder's issuer, and serial number, when they are not the holder's own. */
  holderIssuer?: string;
  holderSerial?: Buffer;
  /** Name of the server, when it is not that of `by`. */
  issuer?: string;
  /** Certificates that travel with it. Default: the server's. */
  certificates?: readonly TestCertificate[];
  /** Hosts that it is meant for. */
  targets?: readonly string[];
  extensions?: readonly Buffer[];
}

/** The extension of a proxy with one VOMS attribute certificate (RFC 5755). */
export function makeVomsExtension(wanted: WantedAttributes): Buffer {
  const { by, holder, vo } = wanted;
  const { algorithm, digest } = algorithmOf(by.key, 'sha256');
  const certificates = (wanted.certificates ?? [by]).map(({ certificate }) => certificate.raw);
  const holderIssuer = wanted.holderIssuer ?? issuerName(holder);
  const content = sequence(
    der(0x02, Buffer.of(1)),
    sequence(
      der(
        0xa0,
        Buffer.concat([directoryNames(holderIssuer), der(0x02, wanted.holderSerial ?? holder.serial)]),
      ),
    ),
    der(0xa0, directoryNames(wanted.issuer ?? by.subject)),
    algorithm,
    der(0x02, Buffer.of(1)),
    sequence(
      time(wanted.notBefore ?? new Date(Date.now() - 60_000), 'generalized'),
      time(wanted.notAfter ?? new Date(Date.now() + DAY), 'generalized'),
    ),
    sequence(
      sequence(
        objectIdentifier('1.3.6.1.4.1.8005.100.100.4'),
        der(
          0x31,
          sequence(
            der(0xa0, der(0x86, Buffer.from(`${vo}://voms.example.org:15000`))),
            sequence(...wanted.fqans.map((fqan) => der(0x04, Buffer.from(fqan)))),
          ),
        ),
      ),
    ),
    sequence(
      ...(certificates.length > 0
        ? [extension('1.3.6.1.4.1.8005.100.100.10', false, sequence(sequence(...certificates)))]
        : []),
      extension('2.5.29.56', false, der(0x05, Buffer.alloc(0))),
      ...(wanted.targets
        ? [
            extension(
              '2.5.29.55',
              true,
              sequence(...wanted.targets.map((host) => der(0xa0, der(0x86, Buffer.from(host))))),
            ),
          ]
        : []),
      ...(wanted.extensions ?? []),
    ),
  );
  const attributes = sequence(content, algorithm, bits(sign(digest, content, by.key)));
  return extension('1.3.6.1.4.1.8005.100.100.5', false, sequence(sequence(attributes)));
}

/** Extensions of an authority and of a person. */
export const AUTHORITY: readonly Buffer[] = [basicConstraints(true), keyUsage(5, 6)];
export const USER: readonly Buffer[] = [basicConstraints(false), keyUsage(0, 2)];

export function basicConstraints(authority: boolean, pathLength?: number): Buffer {
  return extension(
    '2.5.29.19',
    true,
    sequence(
      ...(authority ? [der(0x01, Buffer.of(0xff))] : []),
      ...(pathLength === undefined ? [] : [der(0x02, Buffer.of(pathLength))]),
    ),
  );
}

/** Bits by number (RFC 5280 4.2.1.3): 0 signs, 2 enciphers keys, 5 signs certificates, 6 signs lists. */
export function keyUsage(...numbers: readonly number[]): Buffer {
  const byte = numbers.reduce((sum, number) => sum | (0x80 >> number), 0);
  return extension('2.5.29.15', true, der(0x03, Buffer.of(0, byte)));
}

export function extension(type: string, critical: boolean, value: Buffer): Buffer {
  return sequence(
    objectIdentifier(type),
    ...(critical ? [der(0x01, Buffer.of(0xff))] : []),
    der(0x04, value),
  );
}

export function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

export function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80
      ? Buffer.of(length)
      : length < 0x100
        ? Buffer.of(0x81, length)
        : Buffer.of(0x82, length >> 8, length & 0xff);
  return Buffer.concat([Buffer.of(tag), size, content]);
}

export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((value) => {
    const septets = [value & 0x7f];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128))
      septets.unshift((left & 0x7f) | 0x80);
    return septets;
  });
  return der(0x06, Buffer.from(bytes));
}

const NAME_TYPES: Readonly<Record<string, string>> = {
  DC: '0.9.2342.19200300.100.1.25',
  C: '2.5.4.6',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  CN: '2.5.4.3',
};

function name(oneLine: string): Buffer {
  const parts = oneLine.split(/\/(?=[A-Z]+=)/).slice(1);
  return sequence(
    ...parts.map((part) => {
      const [type = '', value = ''] = part.split(/=(.*)/s);
      const text = der(type === 'DC' ? 0x16 : 0x0c, Buffer.from(value));
      return der(0x31, sequence(objectIdentifier(NAME_TYPES[type] ?? type), text));
    }),
  );
}

function directoryNames(oneLine: string): Buffer {
  return sequence(der(0xa4, name(oneLine)));
}

/** In one-line form again; Node prints one relative name a line. */
function issuerName({ certificate }: TestCertificate): string {
  return certificate.issuer
    .split('\n')
    .map((part) => `/${part}`)
    .join('');
}

function time(at: Date, form: 'utc' | 'generalized' = 'utc'): Buffer {
  const text = `${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  const short = form === 'utc' && at.getUTCFullYear() < 2050;
  return der(short ? 0x17 : 0x18, Buffer.from(short ? text.slice(2) : text));
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.concat([Buffer.of(0), content]));
}

function algorithmOf(key: KeyObject, digest: 'sha256' | 'sha1'): { algorithm: Buffer; digest: string } {
  const rsa = key.asymmetricKeyType === 'rsa';
  const type = {
    sha256: rsa ? '1.2.840.113549.1.1.11' : '1.2.840.10045.4.3.2',
    sha1: rsa ? '1.2.840.113549.1.1.5' : '1.2.840.10045.4.1',
  }[digest];
  return {
    algorithm: sequence(objectIdentifier(type), ...(rsa ? [der(0x05, Buffer.alloc(0))] : [])),
    digest,
  };
}
