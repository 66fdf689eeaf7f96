import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What both sides negotiate, so that the same cipher is compared. */
const TLS = ['--http1.1', '--tlsv1.3', '--tls13-ciphers', 'TLS_AES_256_GCM_SHA384'];

export interface CurlOptions {
  readonly authority: string;
  readonly token: string | null;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as the body of a PUT. */
  readonly upload?: string;
}

export interface CurlReport {
  readonly status: number;
  readonly bytes: number;
  readonly firstByteSeconds: number;
  readonly seconds: number;
}

/** One request by curl; its answer is thrown away. */
export async function curl(url: string, options: CurlOptions): Promise<CurlReport> {
  const headers = {
    ...options.headers,
    ...(options.token === null ? {} : { Authorization: `Bearer ${options.token}` }),
  };
  const child = spawn(
    'curl',
    [
      ...['--silent', '--show-error', ...TLS, '--cacert', options.authority, '--output', '/dev/null'],
      ...[
        '--write-out',
        '%{http_code} %{size_download} %{time_starttransfer} %{time_total} %{time_appconnect}',
      ],
      ...(options.method === undefined ? [] : ['--request', options.method]),
      ...(options.upload === undefined ? [] : ['--upload-file', options.upload]),
      ...Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
      url,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let printed = '';
  let complaint = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  await once(child, 'close');
  const [status = 0, bytes = 0, firstByte = 0, total = 0, connected = 0] = printed.split(' ').map(Number);
  if (status < 200 || status > 299) throw new Error(`curl ${url}: ${status} ${complaint.trim()}`);
  // From when the connection was there: setting it up is not what is measured.
  return { status, bytes, firstByteSeconds: firstByte - connected, seconds: total - connected };
}
