import { z } from 'zod';

/** Whom a rule is about: everything that is written down must hold. */
export const principalRuleSchema = z
  .strictObject({
    issuer: z.string().optional().describe('Whose token it is; for certificates the name of the authority'),
    subject: z.string().optional().describe('`sub` of the token'),
    group: z
      .string()
      .optional()
      .describe(
        'A group or entitlement, exactly: `/cms/uscms` is not `/cms`. Tokens with storage or compute scopes ignore groups',
      ),
    scope: z.string().optional().describe('A scope of the token, exactly as it is written there'),
    client: z.string().optional().describe('`client_id` of the token'),
    host: z.string().optional().describe('A service: scope `host.auth`, subject `host:` and this name'),
    local_user: z.string().optional().describe('The local account, in multi-user mode'),
    x509_subject: z.string().optional().describe('Name of the client certificate, in one-line form'),
    vo: z.string().optional().describe('VO of the proxy'),
    fqan: z.string().optional().describe('A VOMS attribute: /cms/Role=production'),
  })
  .refine((rule) => Object.values(rule).some((value) => value !== undefined), 'must say whom it is about')
  .refine(
    ({ issuer, subject, group, scope, client, host }) =>
      issuer !== undefined || [subject, group, scope, client, host].every((value) => value === undefined),
    'subject, group, scope, client and host mean nothing without the issuer who says so: add issuer',
  );

export const policySchema = z.strictObject({
  effect: z.enum(['permit', 'deny']).describe('What the first policy that matches decides'),
  actions: z
    .array(z.enum(['list', 'read', 'write', 'delete', 'all']))
    .min(1)
    .default(['all'])
    .describe('write: create, replace, rename to; read: content, and bringing it back from tape'),
  paths: z
    .array(z.string().startsWith('/'))
    .min(1)
    .default(['/**'])
    .describe('Below the area: `*` within a name, `?` for a character, `**` for any number of names'),
  principals: z
    .array(z.union([z.literal('anyone'), z.literal('any-authenticated'), principalRuleSchema]))
    .min(1)
    .describe('Any of them; `anyone` includes callers without any credential'),
});

export type PrincipalRule = z.output<typeof principalRuleSchema>;
export type PolicyConfig = z.output<typeof policySchema>;
