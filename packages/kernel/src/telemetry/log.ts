import { type Logger, pino } from 'pino';
import { currentSpan } from './current-span.ts';
import { redactText } from './redact.ts';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

/**
 * A structured logger that writes JSON lines to standard output. Every line passes `redactText`, so a credential that
 * reaches a message, a URL or a nested field does not reach the file.
 */
export function createLogger(options: {
  name: string;
  level?: LogLevel;
  write?: (line: string) => void;
}): Logger {
  const write = options.write ?? gather;
  return pino(
    {
      name: options.name,
      level: options.level ?? 'info',
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      // With tracing on, every line tells which trace it belongs to.
      mixin: () => {
        const span = currentSpan();
        return span ? { traceId: span.traceId } : {};
      },
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => write(redactText(line)) },
  );
}

let gathered = '';
let flushesAtExit = false;
let timer: NodeJS.Timeout | undefined;
/** The level stands first. */
const QUIET_LINE = /^\{"level":"(?:info|debug|trace)"/;

/** How long a line may wait for others. */
const GATHER_MILLISECONDS = 10;

/**
 * Lines go out together, a hundred times a second at most: under load a system call for each, which wakes whoever reads
 * them, would cost more than all else about it. Warnings and errors go at once, with what was said before, and what is said
 * just before the process exits still goes out.
 */
function gather(line: string): void {
  if (!flushesAtExit) process.on('exit', flush);
  flushesAtExit = true;
  gathered += line;
  if (!QUIET_LINE.test(line)) flush();
  else timer ??= setTimeout(flush, GATHER_MILLISECONDS).unref();
}

function flush(): void {
  clearTimeout(timer);
  timer = undefined;
  const text = gathered;
  gathered = '';
  if (text !== '') process.stdout.write(text);
}
