import { once } from 'node:events';
import { request } from 'node:https';

/** What a client saw of a third-party copy. */
export interface SeenCopy {
  readonly status: number;
  readonly text: string;
  /** The verdict, or the refusal. */
  readonly last: string;
  /** Bytes of each performance marker, in order, those that came before the last piece of the answer did. */
  readonly early: readonly number[];
}

export interface CopyOrder {
  /** The active party's file. */
  readonly url: string;
  readonly token: string;
  /** `Source` or `Destination`, and whatever else. */
  readonly headers: Readonly<Record<string, string>>;
  readonly ca: Buffer;
  /** Leave as soon as so many bytes are told. */
  readonly leaveAfterBytes?: number;
}

/** Orders a copy as FTS does, and notes when the markers come. */
export async function orderCopy({ url, token, headers, ca, leaveAfterBytes }: CopyOrder): Promise<SeenCopy> {
  const copy = request(url, {
    method: 'COPY',
    ca,
    agent: false,
    // XRootD 5 knows them in this spelling only.
    headers: { Authorization: `Bearer ${token}`, Credential: 'none', ...headers },
  });
  copy.end();
  const [response] = await once(copy, 'response');
  const pieces: string[] = [];
  try {
    for await (const piece of response) {
      pieces.push(String(piece));
      const [bytes = 0] = bytesOf(pieces.join('')).slice(-1);
      if (leaveAfterBytes !== undefined && bytes >= leaveAfterBytes) break;
    }
  } finally {
    copy.destroy();
  }
  const text = pieces.join('');
  return {
    status: response.statusCode ?? 0,
    text,
    last: text.trimEnd().split('\n').at(-1) ?? '',
    early: bytesOf(pieces.slice(0, -1).join('')),
  };
}

function bytesOf(text: string): number[] {
  return [...text.matchAll(/^\s*Stripe Bytes Transferred: (\d+)$/gm)].map(([, bytes]) => Number(bytes));
}
