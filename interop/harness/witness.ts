/** Remembers the credentials that programs printed, so that one can look for them where they must not be. */
export interface Witness {
  /** Takes every credential out of what a program wrote. */
  read(text: string): void;
  add(name: string, value: string): void;
  /** Value to name. */
  readonly secrets: ReadonlyMap<string, string>;
}

const JWT = /\beyJ[\w-]+\.eyJ[\w-]+\.([\w-]{20,})/g;
const FIELD =
  /"(access_token|refresh_token|id_token|client_secret|registration_access_token|device_code|password|apikey|macaroon)"\s*:\s*"([^"\s]{12,})"/g;
/** What is shorter would be found by chance. */
const SHORTEST = 12;

export function createWitness(): Witness {
  const secrets = new Map<string, string>();
  const add = (name: string, value: string) => {
    // The header and claims of a JWT are no secret: they are worth nothing without the signature.
    const secret = value.startsWith('eyJ') ? (value.split('.')[2] ?? value) : value;
    if (secret.length >= SHORTEST && !secrets.has(secret)) secrets.set(secret, name);
  };
  return {
    secrets,
    add,
    read(text) {
      for (const [, signature = ''] of text.matchAll(JWT)) add('signature of a JWT', signature);
      for (const [, name = '', value = ''] of text.matchAll(FIELD)) add(name, value);
    },
  };
}
