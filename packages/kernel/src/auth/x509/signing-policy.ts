/** Which subjects an authority may sign certificates for, in OpenSSL's one-line form. */
export interface SigningPolicy {
  permits(authority: string, subject: string): boolean;
}

interface Statement {
  /** `undefined`: the authority that the file is named for. */
  readonly authority: string | undefined;
  readonly effect: 'permit' | 'deny';
  matches(subject: string): boolean;
}

/**
 * Reads a Globus signing policy (`<hash>.signing_policy`): for each `access_id_CA` with the right `CA:sign`, the subjects in
 * `cond_subjects`, where `*` stands for any text and `?` for any character. What is not granted is refused.
 *
 * @example
 * access_id_CA   X509   '/C=XX/O=Grid/CN=Root'
 * pos_rights     globus CA:sign
 * cond_subjects  globus '"/C=XX/O=Grid/*" "/C=XX/O=Hosts/*"'
 */
export function readSigningPolicy(text: string): SigningPolicy {
  const statements: Statement[] = [];
  let authority: string | undefined;
  let maySign = false;
  for (const line of linesOf(text)) {
    const [, keyword = '', , value = ''] = /^(\S+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    switch (keyword) {
      case 'access_id_CA':
        authority = canonicalName(unquoted(value));
        maySign = false;
        break;
      case 'pos_rights':
        maySign = value.trim() === 'CA:sign';
        break;
      case 'cond_subjects':
        if (authority === undefined || !maySign) break;
        for (const pattern of patternsOf(value))
          statements.push({ authority, effect: 'permit', matches: globOf(pattern) });
        break;
      default:
    }
  }
  return policyOf(statements);
}

/**
 * Reads a namespaces file of the EUGridPMA (`<hash>.namespaces`): regular expressions over whole subjects; a denial wins.
 *
 * @example
 * TO Issuer "/C=XX/O=Grid/CN=Root" \
 *   PERMIT Subject "/C=XX/O=Grid/.*"
 */
export function readNamespaces(text: string): SigningPolicy {
  const statements = linesOf(text.replace(/\\\r?\n/g, ' ')).map((line): Statement => {
    const match = /^TO\s+Issuer\s+(SELF|"[^"]*"|\S+)\s+(PERMIT|DENY)\s+Subject\s+("[^"]*"|\S+)$/i.exec(line);
    const [, authority = '', effect = '', pattern = ''] = match ?? [];
    if (match === null) throw new RangeError(`a namespaces file with the line ${JSON.stringify(line)}`);
    return {
      authority: authority.toUpperCase() === 'SELF' ? undefined : canonicalName(unquoted(authority)),
      effect: effect.toUpperCase() === 'DENY' ? 'deny' : 'permit',
      matches: expressionOf(canonicalName(unquoted(pattern))),
    };
  });
  return policyOf(statements);
}

/** One spelling of names that grid software writes in several: `/Email=` and `/E=`, `/USERID=`. */
export function canonicalName(name: string): string {
  return name.replace(/\/(Email|E|emailAddress)=/gi, '/emailAddress=').replace(/\/USERID=/gi, '/UID=');
}

/** What is said about the authority by name counts; `SELF` is said about the one that the file is named for. */
function policyOf(statements: readonly Statement[]): SigningPolicy {
  return {
    permits(authority, subject) {
      const name = canonicalName(authority);
      const said = statements.filter(
        (statement) =>
          (statement.authority === undefined || statement.authority === name) &&
          statement.matches(canonicalName(subject)),
      );
      return said.length > 0 && said.every(({ effect }) => effect === 'permit');
    },
  };
}

function linesOf(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function unquoted(text: string): string {
  return text.trim().replace(/^(['"])(.*)\1$/, '$2');
}

/** `'"/a/*" "/b/*"'`, `"/a/*"` or `/a/*`. */
function patternsOf(value: string): string[] {
  const inner = value.trim().replace(/^'(.*)'$/, '$1');
  const quoted = [...inner.matchAll(/"([^"]*)"/g)].map(([, pattern = '']) => pattern);
  return quoted.length > 0 ? quoted : [inner];
}

function globOf(pattern: string): (subject: string) => boolean {
  const source = canonicalName(pattern)
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return expressionOf(source);
}

function expressionOf(source: string): (subject: string) => boolean {
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:${source})$`, 's');
  } catch (cause) {
    throw new RangeError(`the pattern ${JSON.stringify(source)} is not a regular expression`, { cause });
  }
  return (subject) => expression.test(subject);
}
