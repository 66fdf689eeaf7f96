import { lookup as resolve } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { WeftError } from '../errors/index.ts';
import { isInternalAddress } from './address-guard.ts';

export interface OutgoingRulesOptions {
  /** PEM of certificate authorities to trust besides the system's. */
  certificateAuthorities?: readonly string[];
  /** Exact origins (`https://127.0.0.11:8081`) that may be reached although their address is internal. */
  allowOrigins?: readonly string[];
}

/** How a connection is to be opened: options of `net.connect`, `tls.connect` and of the agents of `node:http(s)`. */
export interface ConnectionOptions {
  readonly ca?: string[];
  /** Resolves to addresses that may be reached, so that the address that is checked is the one that is used. */
  readonly lookup?: LookupFunction;
}

/**
 * Which addresses a request made on a user's behalf may reach: https to public addresses, and the allowed origins.
 *
 * @returns how to connect to the origin of `url`.
 * @throws {WeftError} `forbidden`, code `address-not-allowed`, when the URL cannot be allowed whatever it resolves to;
 *   names are judged when they are resolved, where the connection fails with the same error.
 */
export type OutgoingRules = (url: URL) => ConnectionOptions;

export function createOutgoingRules(options: OutgoingRulesOptions): OutgoingRules {
  const allowed = new Set(options.allowOrigins ?? []);
  const trusted = options.certificateAuthorities ? { ca: [...options.certificateAuthorities] } : {};
  return (url) => {
    if (allowed.has(url.origin)) return trusted;
    if (url.protocol !== 'https:') {
      throw new WeftError(
        'forbidden',
        'address-not-allowed',
        `${url.origin} is not https and not on the list of allowed origins.`,
      );
    }
    const literal = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(literal) !== 0 && isInternalAddress(literal)) throw refusal(url.host);
    return { ...trusted, lookup: guardedLookup };
  };
}

/** The refusal among the causes of a failed connection. */
export function findRefusal(error: unknown): WeftError | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof WeftError) return current;
  }
  return undefined;
}

function refusal(host: string): WeftError {
  return new WeftError(
    'forbidden',
    'address-not-allowed',
    `${host} is an internal address. Mend: add its exact origin to outgoing.allow_origins if it is meant to be reached.`,
  );
}

const guardedLookup: LookupFunction = (hostname, lookupOptions, callback) => {
  resolve(hostname, { ...lookupOptions, all: true }, (error, addresses) => {
    if (error) return callback(error, '', 0);
    const usable = addresses.filter(({ address }) => !isInternalAddress(address));
    const [first] = usable;
    if (!first) return callback(refusal(hostname), '', 0);
    if (lookupOptions.all) return callback(null, usable);
    callback(null, first.address, first.family);
  });
};
