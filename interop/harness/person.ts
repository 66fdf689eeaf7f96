import { request } from 'node:https';

/** Somebody at a browser: keeps cookies, follows redirects of one origin, fills the one form of a page. No scripts. */
export interface Person {
  get(url: string): Promise<Seen>;
  /** Name to value, of all sites. */
  readonly cookies: ReadonlyMap<string, string>;
  /** Submits the form of the page seen last with these fields filled in. */
  submit(fields: Readonly<Record<string, string>>): Promise<Seen>;
}

export interface Seen {
  readonly status: number;
  readonly url: URL;
  readonly text: string;
  /** Where it redirects to, when that is another origin. */
  readonly leaving: URL | undefined;
}

export interface PersonOptions {
  /** PEM of the authority that the sites' certificates come from. */
  ca: Buffer;
  /** Origins whose redirects are followed; any other one ends the walk. */
  origins: readonly string[];
}

export function createPerson({ ca, origins }: PersonOptions): Person {
  const cookies = new Map<string, string>();
  let page: Seen | undefined;

  async function open(method: 'GET' | 'POST', url: URL, form?: URLSearchParams): Promise<Seen> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await send(method, url, ca, form?.toString(), cookie);
    for (const header of answer.cookies) {
      const [pair = ''] = header.split(';', 1);
      const equals = pair.indexOf('=');
      cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
    const target = answer.location === undefined ? undefined : new URL(answer.location, url);
    if (target !== undefined && origins.includes(target.origin)) return open('GET', target);
    page = { status: answer.status, url, text: answer.text, leaving: target };
    return page;
  }

  return {
    cookies,
    get: (url) => open('GET', new URL(url)),
    async submit(fields) {
      const action = /<form method="post" action="([^"]+)"/.exec(page?.text ?? '')?.[1];
      if (page === undefined || action === undefined) throw new Error(`no form on this page: ${page?.text}`);
      const form = new URLSearchParams();
      const hidden = page.text.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g);
      for (const [, name = '', value = ''] of hidden) form.set(name, decodeEntities(value));
      for (const [name, value] of Object.entries(fields)) form.set(name, value);
      return open('POST', new URL(decodeEntities(action), page.url), form);
    },
  };
}

interface Answer {
  status: number;
  text: string;
  location: string | undefined;
  cookies: readonly string[];
}

function send(
  method: string,
  url: URL,
  ca: Buffer,
  body: string | undefined,
  cookie: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      // By this some sites tell browsers from programs.
      accept: 'text/html,*/*;q=0.8',
      ...(cookie === '' ? {} : { cookie }),
      ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
    };
    const sent = request(url, { method, ca, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          location: response.headers.location,
          cookies: response.headers['set-cookie'] ?? [],
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function decodeEntities(text: string): string {
  return text.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name] ?? '',
  );
}
