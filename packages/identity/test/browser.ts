import type { GuardedFetch } from '@weft/kernel/http';
import { ISSUER } from './provider.ts';

/** What a browser does with our pages: keeps cookies, follows links, fills the one form of a page. */
export interface TestBrowser {
  get(path: string): Promise<PageSeen>;
  /** Submits the form of the page seen last, with these fields filled in. */
  submit(fields: Record<string, string>): Promise<PageSeen>;
  signIn(path: string, username: string, password: string): Promise<PageSeen>;
  readonly cookies: Map<string, string>;
}

interface PageSeen {
  status: number;
  headers: Headers;
  text: string;
  /** Where it redirects to, if that is not ours. */
  leaving: URL | undefined;
}

export function createTestBrowser(fetch: GuardedFetch): TestBrowser {
  const cookies = new Map<string, string>();
  let page: PageSeen = { status: 0, headers: new Headers(), text: '', leaving: undefined };

  async function open(method: 'GET' | 'POST', path: string, form?: URLSearchParams): Promise<PageSeen> {
    const response = await fetch(new URL(path, ISSUER), {
      method,
      headers: {
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(form === undefined ? {} : { body: form.toString() }),
      redirect: 'manual',
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ''] = cookie.split(';');
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
    }
    const location = response.headers.get('location');
    const target = location === null ? undefined : new URL(location, ISSUER);
    if (target?.origin === ISSUER) return open('GET', target.pathname + target.search);
    page = {
      status: response.status,
      headers: response.headers,
      text: await response.text(),
      leaving: target,
    };
    return page;
  }

  function submit(fields: Record<string, string>): Promise<PageSeen> {
    const action = /<form method="post" action="([^"]+)"/.exec(page.text)?.[1];
    if (action === undefined) throw new Error(`no form on this page: ${page.text}`);
    const form = new URLSearchParams();
    for (const [, name = '', value = ''] of page.text.matchAll(
      /<input type="hidden" name="([^"]+)" value="([^"]*)"/g,
    )) {
      form.set(name, decodeEntities(value));
    }
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    return open('POST', action, form);
  }

  return {
    cookies,
    get: (path) => open('GET', path),
    submit,
    async signIn(path, username, password) {
      await open('GET', path);
      return submit({ username, password });
    },
  };
}

function decodeEntities(text: string): string {
  return text.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name] ?? '',
  );
}
