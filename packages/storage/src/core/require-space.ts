import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';

/** Before the first byte is asked for. @throws {WeftError} `exhausted`, when so many bytes cannot be stored now. */
export async function requireSpace({ area }: Place, bytes: number): Promise<void> {
  const { availableBytes } = await area.files.space();
  if (bytes <= availableBytes) return;
  throw new WeftError(
    'exhausted',
    'insufficient-storage',
    `${availableBytes} bytes are left, ${bytes} are needed.`,
  );
}
