import { WeftError } from '@weft/kernel/errors';

/** What an expression is evaluated against. Attribute values are text; booleans are `true` and `false`. */
export interface ExpressionSubject {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
}

export type RseExpression =
  | { readonly kind: 'all' }
  | { readonly kind: 'name'; readonly name: string }
  | {
      readonly kind: 'compare';
      readonly key: string;
      readonly operator: '=' | '<' | '>';
      readonly value: string;
    }
  | {
      readonly kind: 'combine';
      readonly operator: '|' | '&' | '\\';
      readonly left: RseExpression;
      readonly right: RseExpression;
    };

const LONGEST = 3000;
/** Nested parentheses beyond this are refused: nobody writes them, and the parser recurses. */
const DEEPEST = 50;

/**
 * Parses an RSE expression (brief rucio-api 3.7): `|` union, `&` intersection, `\` difference, strictly from left to
 * right without precedence, parentheses, `NAME`, `key=value`, `key<number`, `key>number`, `*`. No blanks. A value may be
 * quoted (`fts="https://…"`), which is ours.
 *
 * @example parseRseExpression('(type=DISK|type=SCRATCH)\\site=SITE-B')
 * @throws {WeftError} `invalid`, code `InvalidRSEExpression`, naming the position.
 */
export function parseRseExpression(text: string): RseExpression {
  if (text.length > LONGEST) throw syntaxError(LONGEST, `longer than ${LONGEST} characters`);
  let position = 0;

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = position;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) position += found.length;
    return found;
  };

  const expression = (depth: number): RseExpression => {
    let left = term(depth);
    for (;;) {
      const operator = text[position];
      if (operator !== '|' && operator !== '&' && operator !== '\\') return left;
      position += 1;
      left = { kind: 'combine', operator, left, right: term(depth) };
    }
  };

  const term = (depth: number): RseExpression => {
    if (text[position] === '(') {
      if (depth === DEEPEST) throw syntaxError(position, 'too many parentheses');
      position += 1;
      const inner = expression(depth + 1);
      if (text[position] !== ')') throw syntaxError(position, 'a closing parenthesis is missing');
      position += 1;
      return inner;
    }
    if (text[position] === '*') {
      position += 1;
      return { kind: 'all' };
    }
    const start = position;
    const key = take(KEY);
    if (key === undefined) throw syntaxError(position, 'an RSE name or an attribute is expected');
    const operator = text[position];
    if (operator === '=' || operator === '<' || operator === '>') {
      position += 1;
      const value = take(QUOTED)?.slice(1, -1) ?? take(VALUE);
      if (value === undefined) throw syntaxError(position, 'a value is expected');
      return { kind: 'compare', key, operator, value };
    }
    if (!NAME.test(key)) throw syntaxError(start, `'${key}' is no name`);
    return { kind: 'name', name: key };
  };

  const parsed = expression(0);
  if (position < text.length) throw syntaxError(position, `'${text[position]}' is not expected`);
  return parsed;
}

const KEY = /[A-Za-z0-9._-]+/y;
const VALUE = /[A-Za-z0-9_-]+/y;
const QUOTED = /"[^"]*"/y;
const NAME = /^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$/;

function syntaxError(position: number, reason: string): WeftError {
  return new WeftError(
    'invalid',
    'InvalidRSEExpression',
    `Expression does not comply to RSE Expression syntax: ${reason} at character ${position + 1}.`,
  );
}

/** Whether one RSE is in the set that the expression describes; `<` and `>` compare numbers and skip other values. */
export function matchesRse(expression: RseExpression, rse: ExpressionSubject): boolean {
  switch (expression.kind) {
    case 'all':
      return true;
    case 'name':
      return rse.attributes.get(expression.name)?.toLowerCase() === 'true';
    case 'compare':
      return compare(rse.attributes.get(expression.key), expression.operator, expression.value);
    case 'combine': {
      const left = matchesRse(expression.left, rse);
      if (expression.operator === '|') return left || matchesRse(expression.right, rse);
      if (expression.operator === '&') return left && matchesRse(expression.right, rse);
      return left && !matchesRse(expression.right, rse);
    }
  }
}

function compare(actual: string | undefined, operator: '=' | '<' | '>', wanted: string): boolean {
  if (actual === undefined) return false;
  if (operator === '=') return actual === wanted || sameBoolean(actual, wanted);
  const [left, right] = [Number(actual), Number(wanted)];
  if (actual.trim() === '' || Number.isNaN(left) || Number.isNaN(right)) return false;
  return operator === '<' ? left < right : left > right;
}

/** `istape=True` and `istape=true` mean the same: the words true and false are booleans in any case. */
function sameBoolean(actual: string, wanted: string): boolean {
  const lower = actual.toLowerCase();
  return (lower === 'true' || lower === 'false') && lower === wanted.toLowerCase();
}

/** The RSEs of the set. An empty set is an error, as upstream: a wish that nothing can fulfil is a mistake. */
export function selectRses<R extends ExpressionSubject>(text: string, rses: readonly R[]): R[] {
  const expression = parseRseExpression(text);
  const chosen = rses.filter((rse) => matchesRse(expression, rse));
  if (chosen.length === 0) {
    throw new WeftError('invalid', 'InvalidRSEExpression', 'RSE Expression resulted in an empty set.');
  }
  return chosen;
}
