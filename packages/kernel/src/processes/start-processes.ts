import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, ExitError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAcceptor, type Seat } from './acceptor.ts';
import { type FromProcess, fromProcess, PLACE } from './messages.ts';
import { createTurnstile } from './turnstile.ts';

export interface ProcessesOptions {
  /** Two or more. */
  readonly count: number;
  /** What each of them runs: a file, and its arguments. It says `{ type: 'ready' }`, or `{ type: 'failed', … }`, when it is. */
  readonly program: string;
  readonly arguments: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Told to each of them at first. */
  readonly greeting?: object;
  readonly log: Logger;
}

export interface RunningProcesses {
  readonly pids: readonly number[];
  /** Gives nothing to them any more, lets them end what they do, and waits for their end. */
  stop(): Promise<void>;
}

const FIRST_PAUSE_MILLISECONDS = 100;
const LONGEST_PAUSE_MILLISECONDS = 10_000;
/** A process that ran at least this long is started again at once; others wait longer each time. */
const STABLE_MILLISECONDS = 30_000;
const ANSWER_MILLISECONDS = 2_000;
/** For what a process has said before it ended and what we have not read yet. */
const LAST_WORDS_MILLISECONDS = 50;

/** What is known of one place in the group. */
interface Member {
  readonly number: number;
  child: ChildProcess;
  seat: Seat;
  startedAt: number;
  failures: number;
}

/**
 * Runs a program in several processes that share ports (decision record 0009): connections are accepted here and given to
 * the process that has fewest, so that none is refused or lost while one of them is started again. What they agree about
 * goes through here too (`siblings.ts`). They end when this process does.
 *
 * @throws {ExitError} the first one's own message, when one cannot start; none is left running then.
 */
export async function startProcesses(options: ProcessesOptions): Promise<RunningProcesses> {
  const { count, log } = options;
  const acceptor = createAcceptor();
  const turnstile = createTurnstile();
  const members = new Map<number, Member>();
  const questions = new Map<
    number,
    { hear(number: number, answer: unknown): void; miss(number: number): void }
  >();
  const pauses = new Set<NodeJS.Timeout>();
  let lastQuestion = 0;
  let lastHolder = 0;
  let stopping = false;

  /** Resolves when it is ready; rejects when it ends before. */
  function start(number: number, failures: number): Promise<void> {
    const first = Promise.withResolvers<void>();
    first.promise.catch(() => undefined);
    const child = fork(options.program, [...options.arguments], {
      env: { ...process.env, ...options.environment, [PLACE]: `${number}/${count}` },
    });
    const holder = String(++lastHolder);
    const seat: Seat = {
      number,
      // One that is gone is seen by its end.
      send: (message, socket) => void child.send(message, socket, { keepOpen: true }, () => undefined),
    };
    const member: Member = { number, child, seat, startedAt: Date.now(), failures };
    members.set(number, member);
    if (options.greeting) child.send(options.greeting, () => undefined);
    let failure: ExitError | undefined;
    let wasReady = false;

    child.on('message', (raw) => {
      const { data: message } = fromProcess.safeParse(raw);
      if (!message) return;
      if (message.type === 'ready') {
        wasReady = true;
        first.resolve();
      } else if (message.type === 'failed') {
        failure = new ExitError(message.exitCode, message.message);
        first.reject(failure);
      } else hear(member, holder, message);
    });
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      acceptor.gone(seat);
      turnstile.forget(holder);
      for (const question of questions.values()) question.miss(number);
    };
    // After its last message; Node does not say so of a process that was killed with a socket on its way.
    child.on('disconnect', leave);
    child.on('exit', () => setTimeout(leave, LAST_WORDS_MILLISECONDS));
    child.on('error', (error) => {
      first.reject(error);
      if (child.pid === undefined && failures > 0 && !stopping) startAgain(member, describeError(error));
    });
    child.on('exit', (code, signal) => {
      const how = signal ? `by ${signal}` : `with code ${code}`;
      first.reject(
        failure ?? new ExitError(70, `Process ${number} of ${count} ended ${how} before it was ready.`),
      );
      if (stopping || !(wasReady || failures > 0)) return;
      for (const other of members.values()) if (other !== member) other.seat.send({ type: 'gone' });
      startAgain(member, how);
    });
    return first.promise;
  }

  function startAgain(member: Member, how: string): void {
    const wasStable = Date.now() - member.startedAt > STABLE_MILLISECONDS;
    const failures = wasStable ? 1 : member.failures + 1;
    const milliseconds = Math.min(LONGEST_PAUSE_MILLISECONDS, FIRST_PAUSE_MILLISECONDS * 2 ** (failures - 1));
    log.warn(
      { process: member.number, of: count, how, pause: milliseconds },
      'a process ended; starting it again',
    );
    const pause = setTimeout(() => {
      pauses.delete(pause);
      void start(member.number, failures).catch(() => undefined);
    }, milliseconds);
    pauses.add(pause);
  }

  function hear(
    { number, seat }: Member,
    holder: string,
    message: Exclude<FromProcess, { type: 'ready' | 'failed' }>,
  ): void {
    switch (message.type) {
      case 'listen':
        void acceptor.listen(seat, message);
        break;
      case 'open':
        acceptor.open(seat, message.listener);
        break;
      case 'leave':
        acceptor.leave(seat, message.listener);
        seat.send({ type: 'left', id: message.id });
        break;
      case 'taken':
        acceptor.taken(seat, message.connection);
        break;
      case 'ended':
        acceptor.ended(seat);
        break;
      case 'take-turns': {
        const { id, turns, wait } = message;
        turnstile.take(holder, id, turns, wait, (full) =>
          seat.send({ type: 'turns', id, ...(full === undefined ? {} : { full }) }),
        );
        break;
      }
      case 'give-back':
        turnstile.giveBack(holder, message.id);
        break;
      case 'ask':
        void askOthers(number, message.topic, message.question).then((answers) =>
          seat.send({ type: 'answers', id: message.id, answers }),
        );
        break;
      case 'answer':
        questions.get(message.id)?.hear(number, message.answer);
    }
  }

  async function askOthers(asker: number, topic: string, question: unknown) {
    const id = ++lastQuestion;
    const others = [...members.values()].filter(({ number, child }) => number !== asker && child.connected);
    const open = new Set(others.map(({ number }) => number));
    const answers: { process: number; answer: unknown }[] = [];
    const all = Promise.withResolvers<void>();
    const settle = (number: number) => {
      open.delete(number);
      if (open.size === 0) all.resolve();
    };
    questions.set(id, {
      hear(number, answer) {
        if (open.has(number)) answers.push({ process: number, answer });
        settle(number);
      },
      miss: settle,
    });
    for (const { seat } of others) seat.send({ type: 'asked', id, topic, question });
    const enough = new AbortController();
    const patience = sleep(ANSWER_MILLISECONDS, undefined, { signal: enough.signal }).catch(() => undefined);
    if (open.size > 0) await Promise.race([all.promise, patience]);
    enough.abort();
    questions.delete(id);
    return answers;
  }

  async function stop(): Promise<void> {
    stopping = true;
    for (const pause of pauses) clearTimeout(pause);
    await acceptor.close();
    await Promise.all(
      [...members.values()].map(async ({ child }) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        child.kill('SIGTERM');
        await ended;
      }),
    );
  }

  const starts = Array.from({ length: count }, (_, index) => start(index + 1, 0));
  try {
    await Promise.all(starts);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    get pids() {
      return [...members.values()].flatMap(({ child }) => child.pid ?? []);
    },
    stop,
  };
}
