import { describe, expect, it } from 'vitest';
import { configSchema } from './config.ts';

const minimal = { listen: { port: 8440 }, url: 'https://localhost:8440' };

describe('configuration', () => {
  it('needs no more than an address', () => {
    expect(configSchema.parse(minimal)).toMatchObject({
      development_profile: false,
      registration: { mode: 'off' },
    });
  });

  it.each(['0.0.0.0', '192.168.1.1', '::'])(
    'refuses the development profile on %s, which others can reach',
    (host) => {
      const config = { ...minimal, listen: { host, port: 8440 }, development_profile: true };
      expect(() => configSchema.parse(config)).toThrow(/set listen.host to 127.0.0.1/);
      expect(() => configSchema.parse({ ...minimal, second_issuer: config })).toThrow(
        /set listen.host to 127.0.0.1/,
      );
    },
  );

  it.each(['https://localhost:8440/', 'ftp://localhost'])('refuses the issuer %s', (url) => {
    expect(() => configSchema.parse({ ...minimal, url })).toThrow();
  });

  it('does not print secrets', () => {
    const config = configSchema.parse({
      ...minimal,
      clients: [{ id: 'a', secret: 'hush-hush-hush', grants: ['client_credentials'] }],
    });
    expect(JSON.stringify(config)).not.toContain('hush');
  });
});
