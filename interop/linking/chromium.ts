import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

/** Debian's Chromium, without a window. */
export interface Chromium {
  /** Somebody's browser: cookies of its own, no scripts unless a program has to look at the pages. */
  someone(options?: { phone?: boolean; dark?: boolean; scripts?: boolean }): Promise<BrowserContext>;
  stop(): Promise<void>;
}

/** Ends what hangs; a slow machine is no reason to fail. */
const TIMEOUT_MILLISECONDS = 120_000;

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

/** Certificates with the key of `certificate` are trusted, no others. */
export async function startChromium(certificate: string): Promise<Chromium> {
  const { publicKey } = new X509Certificate(readFileSync(certificate));
  const pin = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');
  const browser: Browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      `--ignore-certificate-errors-spki-list=${pin}`,
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  });
  return {
    someone: async ({ phone = false, dark = false, scripts = false } = {}) => {
      const context = await browser.newContext({
        javaScriptEnabled: scripts,
        viewport: phone ? PHONE : DESKTOP,
        isMobile: phone,
        colorScheme: dark ? 'dark' : 'light',
      });
      context.setDefaultTimeout(TIMEOUT_MILLISECONDS);
      return context;
    },
    stop: () => browser.close(),
  };
}

/** What a page says to a person. */
export async function textOf(page: Page): Promise<string> {
  return (await page.locator('main').textContent()) ?? '';
}
