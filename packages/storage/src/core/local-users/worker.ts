/**
 * The program that touches files in multi-user mode: it runs as one local user, has no privilege, no token, no key and no
 * way to the database, and does what it is told over the socket pair at descriptor 3. It ends when that closes.
 */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { createChannel } from './channel.ts';
import { type FileRequest, printFailure, type WorkerSettings } from './file-calls.ts';
import { createFileService, type FileService } from './file-service.ts';
import { requireUnprivileged } from './privileges.ts';
import { openUserAreas } from './user-areas.ts';

// Every mode is given explicitly, with the area's own umask taken away.
process.umask(0);
const socket = new Socket({ fd: 3, readable: true, writable: true });
const leave = () => process.exit(0);
socket.on('close', leave);
socket.on('error', leave);

let service: FileService | undefined;
const channel = createChannel(socket, {
  onViolation: abort,
  onMessage(head, body) {
    if (service) void serve(service, JSON.parse(head), body);
    else start(JSON.parse(head));
  },
});

function abort(error: Error): never {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

function start(settings: WorkerSettings): void {
  requireUnprivileged(readFileSync('/proc/self/status', 'utf8'), settings.identity);
  service = createFileService(openUserAreas(settings));
  channel.send({ ready: true });
}

async function serve(files: FileService, { id, request }: FileRequest, body: Buffer): Promise<void> {
  try {
    const answer = await files(request, body);
    channel.send({ id, result: answer.result }, answer.body);
  } catch (error) {
    channel.send({ id, failure: printFailure(error) });
  }
}
