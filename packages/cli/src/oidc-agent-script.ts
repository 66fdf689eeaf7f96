import { decodeJwt } from 'jose';
import { AGENT_CLIENT, type Endpoints } from './endpoints.ts';

/**
 * A script that makes an account in Debian's oidc-agent (4.2 and newer) for a user of the embedded issuer. The scopes are
 * those of `token`. Two ways: the agent registers itself, or it is the public client that the issuer knows already; in
 * both the person allows it in her browser.
 */
export function oidcAgentScript({ issuer, ca, datalake, sites }: Endpoints, token: string): string {
  const { scope } = decodeJwt<{ scope?: string }>(token);
  const scopes = [...new Set(['openid', 'profile', 'offline_access', ...(scope ?? '').split(' ')])];
  const [first] = Object.values(sites);
  return `#!/bin/sh
# oidc-agent.sh [register|public] [NAME] [OPTION OF oidc-gen...]: an account in oidc-agent for ${issuer}.
#   register  the agent registers itself (default)
#   public    as the client ${AGENT_CLIENT}, which the issuer knows
# An agent must run: eval "$(oidc-agent)". Then a token for one service, with fewer and narrower scopes:
#   oidc-token --aud=${first?.storage} --scope='openid storage.read:/data' weft
#   oidc-token --aud=${datalake} --scope='openid profile' weft
set -eu
how=\${1:-register}
name=\${2:-weft}
[ $# -le 1 ] && set -- || shift 2
case $how in
  register) ;;
  public) set -- --manual --client-id=${AGENT_CLIENT} --client-secret= "$@" ;;
  *) echo "oidc-agent.sh: register or public, not $how" >&2; exit 64 ;;
esac
exec oidc-gen "$name" --iss='${issuer}' --flow=device --cp='${ca}' \\
  --scope='${scopes.join(' ')}' "$@"
`;
}
