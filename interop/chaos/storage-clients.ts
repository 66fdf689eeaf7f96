import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** What a client is told to do. */
export interface ClientOrder {
  readonly url: string;
  /** PEM. */
  readonly authority: string;
  readonly token: string;
  readonly prefix: string;
  readonly maximumBytes: number;
}

/** What a client says. */
export type ClientReport =
  | { readonly begins: string; readonly sum: string }
  | { readonly ended: string; readonly status?: number };

/** What is known of all uploads, whoever made them. */
export interface Uploads {
  attempts: number;
  /** By name: SHA-256 of what was sent. */
  readonly sums: Map<string, string>;
  readonly acknowledged: Set<string>;
  /** By status; without one, the connection broke. */
  readonly answers: Map<number | undefined, number>;
}

export interface UploadClient {
  /** Whether an upload is under way. */
  busy(): boolean;
  /** kill -9. */
  kill(): Promise<void>;
}

/** A process that uploads until it is killed. */
export function startUploadClient(order: ClientOrder, uploads: Uploads): UploadClient {
  const child: ChildProcess = fork(new URL('./upload-client.ts', import.meta.url), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  let current: string | undefined;
  child.on('message', (report: ClientReport) => {
    if ('begins' in report) {
      uploads.attempts += 1;
      uploads.sums.set(report.begins, report.sum);
      current = report.begins;
      return;
    }
    current = undefined;
    uploads.answers.set(report.status, (uploads.answers.get(report.status) ?? 0) + 1);
    if (report.status === 201) uploads.acknowledged.add(report.ended);
  });
  child.send(order);
  return {
    busy: () => current !== undefined,
    async kill() {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
