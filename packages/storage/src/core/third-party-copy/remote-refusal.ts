import { WeftError } from '@weft/kernel/errors';
import { redactText } from '@weft/kernel/telemetry';
import type { Answer } from './partner.ts';
import { describeRequest } from './remote-file.ts';

/** As much of a refusal's text as helps; partners keep theirs to one line below 1 KiB (brief teapot 2.2). */
const MAXIMUM_TEXT_BYTES = 300;
const READING_MILLISECONDS = 1_000;

/** The remote's refusal in our words; definite ones keep their meaning for the client (brief teapot 2.5). */
export async function remoteRefusal(method: string, answer: Answer): Promise<WeftError> {
  const said = await readText(answer);
  const status = `${answer.status} ${answer.statusText}`.trimEnd();
  const message = `${describeRequest(method, answer.url)} answered ${status}${said === '' ? '' : `: ${said}`}`;
  switch (answer.status) {
    case 401:
    case 403:
      return new WeftError('forbidden', 'remote-refused', message);
    case 404:
    case 410:
      return new WeftError('not-found', 'remote-not-found', message);
    default:
      return new WeftError('upstream', 'remote-failed', message);
  }
}

/** The beginning of a text, without what might be a credential; nothing when it does not come soon. */
async function readText({ body, header }: Answer): Promise<string> {
  if (!/^(text\/plain|application\/([a-z.-]+\+)?json)/i.test(header('content-type') ?? '')) {
    body.destroy();
    return '';
  }
  const timer = setTimeout(() => body.destroy(), READING_MILLISECONDS);
  let text = '';
  try {
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > MAXIMUM_TEXT_BYTES) break;
    }
  } catch {
    // The status says enough.
  } finally {
    clearTimeout(timer);
  }
  return redactText(text.trim()).slice(0, MAXIMUM_TEXT_BYTES);
}
