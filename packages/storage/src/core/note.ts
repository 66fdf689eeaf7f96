/** Names a note for good: the file that it stands in, and its number there. */
export interface Note {
  readonly file: string;
  readonly number: number;
}
