/**
 * The program that touches files in multi-user mode: it runs as one local user, has no privilege, no token, no key and no
 * way to the database, and does what it is told over the socket pair at descriptor 3. It ends when that closes.
 */
import { mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { openLocalFiles } from '../files/local-files.ts';
import type { AreaFiles } from '../files/types.ts';
import { createChannel } from './channel.ts';
import { type FileRequest, printFailure, type WorkerSettings } from './file-calls.ts';
import { createFileService, type FileService } from './file-service.ts';

// Every mode is given explicitly, with the area's own umask taken away.
process.umask(0);
const socket = new Socket({ fd: 3, readable: true, writable: true });
const leave = () => process.exit(0);
socket.on('close', leave);
socket.on('error', leave);

let service: FileService | undefined;
const channel = createChannel(socket, {
  onViolation: (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  },
  onMessage(head, body) {
    if (service) void serve(service, JSON.parse(head), body);
    else void start(JSON.parse(head));
  },
});

async function start(settings: WorkerSettings): Promise<void> {
  const areas = new Map<string, AreaFiles>();
  for (const { name, ...options } of settings.areas) {
    await mkdir(options.root, { recursive: true, mode: 0o700 });
    const files = await openLocalFiles({ ...options, stagingOwner: process.getuid?.() ?? 0 });
    await files.sweep();
    areas.set(name, files);
  }
  service = createFileService(areas);
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
