import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Page, Sort } from '../core/read-deployments.ts';
import type { Link } from './links.ts';

const DEFAULT_SIZE = 10;
const LARGEST_SIZE = 2_000;
/** orpy breaks on the second page of any list, so it never gets one (brief 8.2). */
const ORPY_SIZE = 10_000;

const querySchema = z.object({
  page: z.coerce.number().int().min(0).max(1_000_000_000).catch(0),
  size: z.coerce.number().int().min(1).catch(DEFAULT_SIZE),
  sort: z.string().optional(),
});

const SORTABLE: Readonly<Record<string, Sort['by']>> = {
  createdAt: 'created_at',
  creationTime: 'created_at',
  updatedAt: 'updated_at',
  updateTime: 'updated_at',
};

/** Reads `page` (from 0), `size` and `sort=createdAt,desc`, as Spring does: what cannot be read is the default. */
export function readPage(request: FastifyRequest): Page {
  const query = querySchema.parse(request.query);
  const isOrpy = request.headers['user-agent']?.startsWith('orpy') === true;
  const size = isOrpy ? ORPY_SIZE : Math.min(query.size, LARGEST_SIZE);
  return { number: isOrpy ? 0 : query.page, size, sort: readSort(query.sort) };
}

function readSort(text: string | undefined): Sort {
  if (text === undefined || text === '') return { by: 'created_at', direction: 'desc' };
  const [field = '', direction] = text.split(',');
  const by = Object.hasOwn(SORTABLE, field) ? SORTABLE[field] : undefined;
  if (by === undefined) throw new WeftError('invalid', 'bad-sort', `Cannot sort by "${field}".`);
  return { by, direction: direction?.toLowerCase() === 'desc' ? 'desc' : 'asc' };
}

/** The envelope of every list (brief 2.1); links keep the filters of the request. */
export function printPage<Item>(
  request: FastifyRequest,
  base: string,
  path: string,
  items: Item[],
  total: number,
  page: Page,
) {
  const totalPages = Math.ceil(total / page.size);
  const last = Math.max(0, totalPages - 1);
  const hrefOf = (number: number) => {
    const query = new URLSearchParams(new URL(request.originalUrl, base).searchParams);
    query.set('page', String(number));
    query.set('size', String(page.size));
    query.set('sort', `${page.sort.by === 'created_at' ? 'createdAt' : 'updatedAt'},${page.sort.direction}`);
    return `${base}${path}?${query}`;
  };
  const links: Link[] = [];
  if (totalPages > 1) links.push({ rel: 'first', href: hrefOf(0) });
  if (page.number > 0) links.push({ rel: 'prev', href: hrefOf(page.number - 1) });
  links.push({ rel: 'self', href: hrefOf(page.number) });
  if (page.number < last) links.push({ rel: 'next', href: hrefOf(page.number + 1) });
  if (totalPages > 1) links.push({ rel: 'last', href: hrefOf(last) });
  return {
    links,
    content: items,
    page: { size: page.size, totalElements: total, totalPages, number: page.number },
  };
}
