import { WeftError } from '@weft/kernel/errors';
import { created } from './answers.ts';
import { publicRoute } from './router.ts';

/** Longest trace that is read. */
const LONGEST = 64 * 1024;

/**
 * Traces of clients: accepted and not kept yet. They come without a token and synchronously, so the one thing that matters
 * here is to answer at once (brief rucio-api 2.8).
 */
const accept = ({ body }: { body: string }) => {
  if (body.length > LONGEST)
    throw new WeftError('too-large', 'InputValidationError', 'The trace is too large.');
  try {
    JSON.parse(body);
  } catch (cause) {
    throw new WeftError('invalid', 'ValueError', 'Cannot decode json data.', { cause });
  }
  return created();
};

export const traceRoutes = [
  publicRoute('POST', '/traces', accept),
  publicRoute('POST', '/nongrid_traces', accept),
];
