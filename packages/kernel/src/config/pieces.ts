import { z } from 'zod';
import { Secret } from './secret.ts';

/** Where a listener binds. */
export const listenSchema = z.strictObject({
  host: z.string().default('127.0.0.1').describe('Address to bind'),
  port: z.int().min(1).max(65535).describe('TCP port'),
});

/** Base URL of a service: https (or http on loopback), no trailing slash. */
export const baseUrlSchema = z
  .url({ protocol: /^https?$/ })
  .refine((value) => !value.endsWith('/'), 'must not end in a slash');

/** A string that prints as `***` once parsed. */
export const secretSchema = z
  .string()
  .min(1)
  .transform((value) => new Secret(value));
