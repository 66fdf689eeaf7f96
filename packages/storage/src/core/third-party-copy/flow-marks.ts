import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';

/** What a copy is for, as networks are told (SciTags): experiment and activity. */
export interface SciTag {
  readonly experiment: number;
  readonly activity: number;
}

/** @example parseSciTag('66') // { experiment: 1, activity: 2 }; nothing for what is no tag: it is only a hint */
export function parseSciTag(text: string | undefined): SciTag | undefined {
  const value = /^\d{2,5}$/.test(text ?? '') ? Number(text) : 0;
  return value >= 65 && value <= 65_535 ? { experiment: value >> 6, activity: value & 63 } : undefined;
}

/**
 * Tells flowd, by the pipe that it listens on, when connections of a copy begin and end (brief teapot 2.5):
 * `start tcp <source> <port> <destination> <port> <experiment> <activity>`. Nothing waits for it, and nothing fails.
 */
export function markFlows(
  tag: SciTag,
  { pipe, direction, log }: { pipe: string; direction: 'pull' | 'push'; log: Logger },
): (socket: Socket) => void {
  let told = Promise.resolve();
  const tell = (line: string) => {
    told = told.then(async () => {
      try {
        await write(pipe, line);
      } catch (error) {
        log.debug({ error: describeError(error) }, 'flowd does not listen');
      }
    });
  };
  return (socket) => {
    const begin = () => {
      const { localAddress, localPort, remoteAddress, remotePort } = socket;
      if (localAddress === undefined || remoteAddress === undefined) return;
      const here = `${plainAddress(localAddress)} ${localPort}`;
      const there = `${plainAddress(remoteAddress)} ${remotePort}`;
      const ends = direction === 'pull' ? `${there} ${here}` : `${here} ${there}`;
      const flow = `tcp ${ends} ${tag.experiment} ${tag.activity}\n`;
      tell(`start ${flow}`);
      socket.once('close', () => tell(`end ${flow}`));
    };
    if (socket.connecting) socket.once('connect', begin);
    else begin();
  };
}

/** Not waited for: a pipe that nobody reads is refused at once (ENXIO), and one that is full loses the line. */
async function write(pipe: string, line: string): Promise<void> {
  const file = await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND);
  try {
    await file.write(line);
  } finally {
    await file.close();
  }
}

/** @example plainAddress('::ffff:192.0.2.1') // '192.0.2.1' */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
