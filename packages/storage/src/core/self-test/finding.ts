/** One thing that the self-test has looked at. */
export interface StorageFinding {
  readonly name: string;
  /** `bad` keeps requests from being served; `note` takes something away. */
  readonly state: 'good' | 'note' | 'bad';
  readonly found: string;
  readonly mend?: string;
}

export function good(name: string, found: string): StorageFinding {
  return { name, state: 'good', found };
}

export function note(name: string, found: string, mend: string): StorageFinding {
  return { name, state: 'note', found, mend };
}

export function bad(name: string, found: string, mend: string): StorageFinding {
  return { name, state: 'bad', found, mend };
}
