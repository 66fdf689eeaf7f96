import type { GuardedFetch } from '@weft/kernel/http';
import { ISSUER } from './provider.ts';

/** What a browser does with our pages: keeps cookies, follows links, fills the one form of a page. */
export interface TestBrowser {
  get(path: string): Promise<PageSeen>;
  /** Submits the form of the page seen last, with these fields filled in. */
  submit(fields: Record<string, string>): Promise<PageSeen>;
  /** Submits the one of several forms that has this action. */
  submitTo(action: string, fields: Record<string, string>): Promise<PageSeen>;
  /** Posts to a path without a form of ours. */
  post(path: string, fields: Record<string, string>): Promise<PageSeen>;
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

export function createTestBrowser(fetch: GuardedFetch, origins: readonly string[] = [ISSUER]): TestBrowser {
  const jars = new Map(origins.map((origin) => [origin, new Map<string, string>()]));
  let here: string = origins[0] ?? ISSUER;
  let page: PageSeen = { status: 0, headers: new Headers(), text: '', leaving: undefined };

  async function open(method: 'GET' | 'POST', path: string, form?: URLSearchParams): Promise<PageSeen> {
    const url = new URL(path, here);
    here = url.origin;
    const cookies = jars.get(here) ?? new Map<string, string>();
    const response = await fetch(url, {
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
    const target = location === null ? undefined : new URL(location, url);
    if (target !== undefined && jars.has(target.origin)) return open('GET', target.href);
    const text = await response.text();
    const refresh = /<meta http-equiv="refresh" content="0;url=([^"]+)">/.exec(text)?.[1];
    const onward = refresh === undefined ? target : new URL(decodeEntities(refresh));
    if (onward !== undefined && jars.has(onward.origin)) return open('GET', onward.href);
    page = { status: response.status, headers: response.headers, text, leaving: onward };
    return page;
  }

  function submit(fields: Record<string, string>, wanted?: string): Promise<PageSeen> {
    const forms = page.text.split('<form method="post" action="').slice(1);
    const form = forms.find((each) => wanted === undefined || each.startsWith(`${wanted}"`));
    if (form === undefined) throw new Error(`no form ${wanted ?? ''} on this page: ${page.text}`);
    const filled = new URLSearchParams();
    const [body = ''] = form.split('</form>');
    for (const [, name = '', value = ''] of body.matchAll(
      /<input type="hidden" name="([^"]+)" value="([^"]*)"/g,
    )) {
      filled.set(name, decodeEntities(value));
    }
    for (const [name, value] of Object.entries(fields)) filled.set(name, value);
    return open('POST', form.slice(0, form.indexOf('"')), filled);
  }

  return {
    get cookies() {
      return jars.get(here) ?? new Map<string, string>();
    },
    get: (path) => open('GET', path),
    submit: (fields) => submit(fields),
    post: (path, fields) => open('POST', path, new URLSearchParams(fields)),
    submitTo: (action, fields) => submit(fields, action),
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
