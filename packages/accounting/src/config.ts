import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

export const accountingConfig = z
  .strictObject({
    listen: listenSchema.prefault({ port: 8443 }).describe('Where the repository listens'),
    url: baseUrlSchema.describe(
      'Address that others use; also the audience of tokens unless `audiences` says otherwise',
    ),
    audiences: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('Audiences of tokens that are accepted. Default: `url`'),
    publishers: z
      .array(
        z.strictObject({
          signer: z.string().min(1).describe('Client id or subject of the token'),
          sites: z.array(z.string().min(1)).min(1).describe('Sites whose records it may send; `*` for all'),
        }),
      )
      .optional()
      .describe(
        'Who may send records of which site. Without it, whoever has the scope accounting.publish, for every site',
      ),
    see_all: z
      .strictObject({
        groups: z
          .array(z.string())
          .default(['/admin'])
          .describe('Groups whose members see the users behind all numbers'),
        clients: z.array(z.string()).default([]).describe('Client ids that see them'),
      })
      .prefault({})
      .describe('Who sees the users behind the numbers; everybody else sees other users as `withheld`'),
  })
  .describe('Accounting repository: job records in, sums out');

export type AccountingConfig = z.output<typeof accountingConfig>;
