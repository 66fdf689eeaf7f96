import { inspect } from 'node:util';

/** A credential in memory. Prints, logs and serialises as `***`; unwrap with `reveal()` at the last moment. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '***';
  }

  toJSON(): string {
    return '***';
  }

  [inspect.custom](): string {
    return '***';
  }
}
