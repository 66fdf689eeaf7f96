import type { StorageConfig } from '../../config.ts';
import { createAccessRules } from '../access/access-rules.ts';
import { bad, good, note, type StorageFinding } from './finding.ts';

/** Whether policies, prefixes and administrators can ever be about anybody: a rule with a wrong issuer fails in silence. */
export function examineRules(config: StorageConfig, issuers: readonly string[]): StorageFinding[] {
  const name = 'policies';
  try {
    createAccessRules(config);
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return [bad(name, found, 'Set it, or name whom the policy is for.')];
  }
  const policies = config.areas.flatMap((area) =>
    area.policies.flatMap(({ principals }) =>
      principals.map((principal) => ({ where: `a policy of the area ${area.name}`, principal })),
    ),
  );
  const named = [
    ...policies.flatMap(({ where, principal }) =>
      typeof principal === 'string'
        ? []
        : [{ where, issuer: principal.issuer, certificate: isOfCertificates(principal) }],
    ),
    ...config.administrators.map((rule) => ({
      where: 'administrators',
      issuer: rule.issuer,
      certificate: isOfCertificates(rule),
    })),
    ...config.areas.flatMap((area) =>
      (area.issuers ?? []).map((issuer) => ({
        where: `issuers of the area ${area.name}`,
        issuer,
        certificate: false,
      })),
    ),
    ...Object.keys(config.issuer_prefixes).map((issuer) => ({
      where: 'issuer_prefixes',
      issuer,
      certificate: false,
    })),
  ];
  const plain = (issuer: string) => issuer.replace(/\/$/, '');
  const trusted = new Set(issuers.map(plain));
  const isUrl = (issuer: string) => /^https?:/i.test(issuer);
  const unknown = named.flatMap(({ where, issuer }) =>
    issuer !== undefined && isUrl(issuer) && !trusted.has(plain(issuer)) ? [`${where} (${issuer})`] : [],
  );
  const findings: StorageFinding[] = [];
  if (unknown.length > 0)
    findings.push(
      note(
        name,
        `about users of issuers that are not trusted: ${[...new Set(unknown)].join(', ')}`,
        'Add them to issuers, or write them as they stand in iss.',
      ),
    );
  if (!config.client_certificates && named.some(({ certificate }) => certificate))
    findings.push(
      note(name, 'about certificates, which nobody is asked for', 'Set client_certificates: true.'),
    );
  if (findings.length === 0 && policies.length > 0) findings.push(good(name, `${policies.length} rules`));
  return findings;
}

function isOfCertificates(rule: {
  x509_subject?: string | undefined;
  vo?: string | undefined;
  fqan?: string | undefined;
}) {
  return rule.x509_subject !== undefined || rule.vo !== undefined || rule.fqan !== undefined;
}
