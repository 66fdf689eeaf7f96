import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Door } from '../core/door.ts';
import type { Segments } from '../core/resource-path.ts';

/** Which area a request was about, and for which local account: never a subject or a mail address (they are personal). */
interface Attribution {
  readonly site: string;
  readonly area: string;
  /** Empty in single-user mode, where one account does everything. */
  readonly account: string;
}

/** One request as it is counted. */
export interface Measurement {
  /** Called once the caller's view of the door is known; what is refused before counts for nobody. */
  attribute(door: Door, path: Segments): void;
  end(): void;
}

const LABELS = ['site', 'area', 'account'] as const;

/** What a connection had carried when its last request ended. */
const carried = new WeakMap<Socket, { read: number; written: number }>();

const NOTHING = { read: 0, written: 0 };

/** What its connection had carried before each request. */
const begun = new WeakMap<IncomingMessage, { read: number; written: number }>();

/** Bytes of a request and of its answer so far, without what TLS adds. */
export function bytesOf(request: IncomingMessage): { received?: number; sent?: number } {
  const before = begun.get(request);
  if (!before) return {};
  const now = traffic(request.socket);
  return { received: Math.max(0, now.read - before.read), sent: Math.max(0, now.written - before.written) };
}

/** Metrics of requests by area and account (brief teapot 4). Metrics are made once; asking again gives the same. */
export function createMetering({ context, config }: Door) {
  const { metrics } = context;
  const { site } = config;
  const requests = metrics.counter('weft_storage_requests_total', 'Requests answered', [
    'site',
    'area',
    'method',
    'status',
  ]);
  const byAccount = metrics.counter(
    'weft_storage_account_requests_total',
    'Requests answered, by local account: done, refused (4xx) or failed (5xx)',
    [...LABELS, 'outcome'],
  );
  const bytes = metrics.counter(
    'weft_storage_bytes_total',
    'Bytes that came (in) and went (out) over connections, without what TLS adds',
    [...LABELS, 'direction'],
  );
  const active = metrics.gauge('weft_storage_requests_active', 'Requests that are being answered', LABELS);

  const measured = new WeakSet<IncomingMessage>();

  return {
    /** A request that is not of files has carried its bytes, too; they count for nobody. */
    pass(request: IncomingMessage): void {
      if (!measured.has(request)) carried.set(request.socket, traffic(request.socket));
    },
    begin(request: IncomingMessage, response: ServerResponse): Measurement {
      let attribution: Attribution | undefined;
      const { socket } = request;
      measured.add(request);
      begun.set(request, carried.get(socket) ?? NOTHING);
      return {
        attribute(door, path) {
          attribution = attributionOf(door, path);
          active.inc({ ...attribution });
        },
        end() {
          const labels = { ...(attribution ?? { site, area: '', account: '' }) };
          const before = carried.get(socket) ?? { read: 0, written: 0 };
          const now = traffic(socket);
          carried.set(socket, now);
          const status = response.statusCode;
          const outcome = status < 400 ? 'done' : status < 500 ? 'refused' : 'failed';
          const { method = '' } = request;
          requests.inc({ site, area: labels.area, method, status });
          byAccount.inc({ ...labels, outcome });
          bytes.inc({ ...labels, direction: 'in' }, Math.max(0, now.read - before.read));
          bytes.inc({ ...labels, direction: 'out' }, Math.max(0, now.written - before.written));
          if (attribution) active.dec({ ...attribution });
        },
      };
    },
  };
}

function traffic(socket: Socket): { read: number; written: number } {
  return { read: socket.bytesRead, written: socket.bytesWritten };
}

/** Counts one third-party copy; returns what is to be called when it has ended. */
export function meterCopy(
  door: Door,
  path: Segments,
  direction: 'pull' | 'push',
): (ended: { succeeded: boolean; bytes: number }) => void {
  const { metrics } = door.context;
  const labels = { ...attributionOf(door, path), direction };
  const copies = metrics.counter('weft_storage_copies_total', 'Third-party copies that have ended', [
    ...LABELS,
    'direction',
    'outcome',
  ]);
  const copied = metrics.counter('weft_storage_copied_bytes_total', 'Bytes of third-party copies', [
    ...LABELS,
    'direction',
  ]);
  const active = metrics.gauge('weft_storage_copies_active', 'Third-party copies that are running', [
    ...LABELS,
    'direction',
  ]);
  active.inc(labels);
  return ({ succeeded, bytes }) => {
    active.dec(labels);
    copies.inc({ ...labels, outcome: succeeded ? 'done' : 'failed' });
    copied.inc(labels, bytes);
  };
}

function attributionOf(door: Door, path: Segments): Attribution {
  const area = door.areas.find(path)?.area.config.name ?? '';
  return { site: door.config.site, area, account: door.account ?? '' };
}
