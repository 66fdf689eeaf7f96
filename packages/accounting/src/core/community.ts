/** Who a job was run for: community (VO), group in it and role. `None` stands for what is not known, as upstream stores it. */
export interface Community {
  readonly vo: string;
  readonly group: string;
  readonly role: string;
}

/**
 * Reads an FQAN (brief accounting 3.2), or an AARC-G002 entitlement, into its parts.
 *
 * @example
 * readFqan('/atlas/uk/Role=production/Capability=NULL') // { vo: 'atlas', group: '/atlas/uk', role: 'Role=production' }
 * readFqan('vo.example.eu')                             // { vo: 'vo.example.eu', group: 'None', role: 'None' }
 * readFqan('urn:geant:x.eu:group:atlas:uk:role=admin#aai.x.eu') // { vo: 'atlas', group: '/atlas/uk', role: 'role=admin' }
 */
export function readFqan(fqan: string): Community {
  const first = fqan.split(';', 1)[0]?.trim() ?? '';
  const entitlement = /^urn:.+?:group:([^#]+)(?:#.*)?$/i.exec(first);
  if (entitlement?.[1] !== undefined) return fromPieces(entitlement[1].split(':').map(decoded));
  if (!first.startsWith('/')) return { vo: first, group: 'None', role: 'None' };
  return fromPieces(first.slice(1).split('/'));
}

function fromPieces(pieces: readonly string[]): Community {
  const at = pieces.findIndex((piece) => /^role=/i.test(piece));
  const groups = (at < 0 ? pieces : pieces.slice(0, at)).filter((piece) => !/^capability=/i.test(piece));
  return { vo: groups[0] ?? 'None', group: `/${groups.join('/')}`, role: pieces[at] ?? 'None' };
}

function decoded(piece: string): string {
  try {
    return decodeURIComponent(piece);
  } catch {
    return piece;
  }
}
