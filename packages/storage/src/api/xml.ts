import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import { SaxesParser } from 'saxes';
import { watchForSilence } from './silence.ts';

export interface XmlElement {
  readonly namespace: string;
  readonly name: string;
  readonly attributes: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly value: string;
  }[];
  /** In document order, text as strings. */
  readonly content: (XmlElement | string)[];
}

export const DAV = 'DAV:';
const XML = 'http://www.w3.org/XML/1998/namespace';

/** Limits against hostile documents (brief teapot 7). */
const MAXIMUM_BYTES = 1024 * 1024;
const MAXIMUM_DEPTH = 64;
const MAXIMUM_ELEMENTS = 10_000;

/** Reads a request body whole, at most 1 MiB unless said otherwise. @throws {WeftError} `too-large`. */
export async function readBody(request: IncomingMessage, maximumBytes = MAXIMUM_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const iterator = request.iterator({ destroyOnReturn: false });
  const stopWatching = watchForSilence(request);
  try {
    for await (const chunk of iterator) {
      bytes += chunk.length;
      if (bytes > maximumBytes)
        throw new WeftError('too-large', 'body-too-large', `The body is larger than ${maximumBytes} bytes.`);
      chunks.push(chunk);
    }
  } finally {
    stopWatching();
  }
  return Buffer.concat(chunks);
}

/**
 * Parses a document strictly, with namespaces. Document type declarations, and with them entities of one's own, are
 * refused; so are undeclared and empty prefixes.
 *
 * @throws {WeftError} `invalid`, code `invalid-xml`.
 */
export function parseXml(bytes: Buffer): XmlElement {
  const parser = new SaxesParser({ xmlns: true, position: false });
  const open: XmlElement[] = [];
  let root: XmlElement | undefined;
  let elements = 0;
  parser.on('error', (error) => {
    throw invalid(error.message);
  });
  parser.on('doctype', () => {
    throw invalid('document type declarations are refused');
  });
  parser.on('opentag', (tag) => {
    elements += 1;
    if (open.length >= MAXIMUM_DEPTH || elements > MAXIMUM_ELEMENTS)
      throw invalid('it is too deep or too long');
    const attributes = Object.values(tag.attributes)
      .filter(({ uri }) => uri !== 'http://www.w3.org/2000/xmlns/')
      .map(({ uri, local, value }) => ({ namespace: uri, name: local, value }));
    for (const [prefix, uri] of Object.entries(tag.ns)) {
      if (prefix !== '' && uri === '') throw invalid(`the prefix ${prefix} is bound to nothing`);
    }
    const element: XmlElement = { namespace: tag.uri, name: tag.local, attributes, content: [] };
    const parent = open.at(-1);
    if (parent) parent.content.push(element);
    else root = element;
    open.push(element);
  });
  parser.on('text', (text) => void open.at(-1)?.content.push(text));
  parser.on('cdata', (text) => void open.at(-1)?.content.push(text));
  parser.on('closetag', () => void open.pop());
  parser.write(bytes.toString('utf8')).close();
  if (!root) throw invalid('it is empty');
  return root;
}

function invalid(why: string): WeftError {
  return new WeftError(
    'invalid',
    'invalid-xml',
    `The body is no XML that is understood: ${why.replace(/\s+/g, ' ')}.`,
  );
}

const TO_ESCAPE = /[\p{Cc}\ufffe\uffff&<>"]/u;

export function escapeXml(text: string): string {
  if (!TO_ESCAPE.test(text)) return text;
  return text
    .replace(/[\p{Cc}\ufffe\uffff]/gu, (character) => (/[\t\n\r]/.test(character) ? character : '\ufffd'))
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The elements directly in an element. */
export function childrenOf({ content }: XmlElement): XmlElement[] {
  return content.filter((node) => typeof node !== 'string');
}

export function childOf(element: XmlElement, namespace: string, name: string): XmlElement | undefined {
  return childrenOf(element).find((child) => child.namespace === namespace && child.name === name);
}

/** An element as it can stand in any document: every namespace is declared where it is used. */
export function printXml(element: XmlElement): string {
  const attributes = element.attributes.map(({ namespace, name, value }, index) => {
    if (namespace === '') return ` ${name}="${escapeXml(value)}"`;
    if (namespace === XML) return ` xml:${name}="${escapeXml(value)}"`;
    return ` xmlns:n${index}="${escapeXml(namespace)}" n${index}:${name}="${escapeXml(value)}"`;
  });
  const content = element.content
    .map((node) => (typeof node === 'string' ? escapeXml(node) : printXml(node)))
    .join('');
  const start = `${element.name} xmlns="${escapeXml(element.namespace)}"${attributes.join('')}`;
  return content === '' ? `<${start}/>` : `<${start}>${content}</${element.name}>`;
}
