/**
 * Child process of `storage.chaos.ts`, made to be killed: uploads files one after the other, says before each what it is
 * going to send and after each what was answered.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientOrder, ClientReport } from './storage-clients.ts';

const PAUSE_AFTER_FAILURE_MILLISECONDS = 200;
const KNOCK_MILLISECONDS = 100;

process.once('message', (order: ClientOrder) => void upload(order));
process.on('disconnect', () => process.exit());

async function upload({ url, authority, token, prefix, maximumBytes }: ClientOrder): Promise<void> {
  const agent = new Agent({ ca: authority, keepAlive: true });
  for (let index = 0; ; index++) {
    const name = `${prefix}-${index}`;
    const body = randomBytes(Math.floor(Math.random() * maximumBytes));
    // It must be known before a byte of it can be on disk.
    await tell({ begins: name, sum: createHash('sha256').update(body).digest('hex') });
    let status = await put(agent, `${url}/f/${name}`, token, body);
    // Nobody was there: that was no upload yet.
    while (status === 'refused') {
      await sleep(KNOCK_MILLISECONDS);
      status = await put(agent, `${url}/f/${name}`, token, body);
    }
    await tell({ ended: name, ...(status === undefined ? {} : { status }) });
    if (status !== 201) await sleep(PAUSE_AFTER_FAILURE_MILLISECONDS);
  }
}

function tell(report: ClientReport): Promise<void> {
  return new Promise((resolve) => process.send?.(report, undefined, {}, () => resolve()));
}

/** In two parts with a pause, so that there is a middle in which to be killed. Resolves with the status, if one came. */
function put(
  agent: Agent,
  url: string,
  token: string,
  body: Buffer,
): Promise<number | 'refused' | undefined> {
  return new Promise((resolve) => {
    const sent = request(url, {
      agent,
      method: 'PUT',
      headers: { authorization: `Bearer ${token}`, 'content-length': body.length },
    });
    sent.on('error', (error) =>
      resolve('code' in error && error.code === 'ECONNREFUSED' ? 'refused' : undefined),
    );
    sent.on('response', (response) => {
      response.resume();
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.statusCode));
    });
    const half = Math.floor(body.length / 2);
    sent.write(body.subarray(0, half));
    setTimeout(() => sent.end(body.subarray(half)), Math.random() * 20);
  });
}
