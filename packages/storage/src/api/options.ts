import type { StorageConfig } from '../config.ts';
import { preflightHeaders } from './cors.ts';
import { answer, type Exchange } from './exchange.ts';
import { ALLOW } from './methods.ts';

/** OPTIONS is answered without a credential: Windows, GNOME and CORS preflights send none. */
export function options(exchange: Pick<Exchange, 'request' | 'response'>, config: StorageConfig): void {
  answer(exchange, 200, {
    dav: '1, 2, 3',
    allow: ALLOW,
    'ms-author-via': 'DAV',
    'accept-ranges': 'bytes',
    ...preflightHeaders(config, exchange.request),
  });
}
