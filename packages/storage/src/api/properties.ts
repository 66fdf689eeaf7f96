import type { Digests } from '../core/checksums/digests.ts';
import type { DeadProperty } from '../core/dead-properties.ts';
import type { FileFacts, Space } from '../core/files/types.ts';
import type { Lock } from '../core/locks.ts';
import type { Segments } from '../core/resource-path.ts';
import type { Locality } from '../core/tape/tape-system.ts';
import { printActiveLock } from './active-lock.ts';
import { contentType } from './content-type.ts';
import { printDigestList } from './digest-headers.ts';
import { entityTag, lastModified, printedSeconds } from './entity-tag.ts';
import { DAV, escapeXml } from './xml.ts';

/** What the live properties of a resource are made of. */
export interface Resource {
  readonly path: Segments;
  /** Encoded, with a slash at the end of a collection. */
  readonly href: string;
  readonly facts: FileFacts;
  readonly digests: Digests;
  /** Of its area; asked for on collections only. */
  readonly space: Space | undefined;
  /** Of files, when it is asked for. */
  readonly locality: Locality | undefined;
  /** That cover it. */
  readonly locks: readonly Lock[];
  readonly dead: readonly DeadProperty[];
}

export interface PropertyName {
  readonly namespace: string;
  readonly name: string;
}

export interface LiveProperty extends PropertyName {
  /** As it stands in the answer, under the prefixes of the multistatus. */
  readonly tag: string;
  /** Left out of `allprop` (RFC 4918 section 14.2 lets us), so that its price is paid by those who ask. */
  readonly onRequest?: true;
  /** The same for all files of an area, and for all its collections. */
  readonly common?: true;
  /** Content of the element as XML; nothing: the resource does not have it. Never empty: GNOME stumbles over that. */
  readonly print: (resource: Resource) => string | undefined;
}

const LCGDM = 'LCGDM:';
const STORM = 'http://storm.italiangrid.org/2014/webdav';
const DCACHE = 'http://www.dcache.org/2013/webdav';
const OWNCLOUD = 'http://owncloud.org/ns';
const APACHE = 'http://apache.org/dav/props/';
const SRM = 'http://srm.lbl.gov/StorageResourceManager';

/** SRM's words, as dCache prints them. */
const FILE_LOCALITY: Readonly<Record<Locality, string>> = {
  DISK: 'ONLINE',
  TAPE: 'NEARLINE',
  DISK_AND_TAPE: 'ONLINE_AND_NEARLINE',
  LOST: 'LOST',
  NONE: 'NONE',
};

/** Where the content of a file lies: on disk, on tape, or both. */
export const LOCALITY_PROPERTY: PropertyName = { namespace: SRM, name: 'FileLocality' };

const isFile = ({ facts }: Resource) => facts.kind === 'file';
const nameOf = ({ path }: Resource) => path.at(-1) ?? '/';

const LOCK_ENTRIES = ['exclusive', 'shared']
  .map(
    (scope) =>
      `<d:lockentry><d:lockscope><d:${scope}/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>`,
  )
  .join('');

/** Brief teapot 2.3. */
export const LIVE_PROPERTIES: readonly LiveProperty[] = [
  common(dav('resourcetype', ({ facts }) => (facts.kind === 'collection' ? '<d:collection/>' : undefined))),
  dav('displayname', (resource) => escapeXml(nameOf(resource))),
  dav('getcontentlength', ({ facts }) => String(facts.size)),
  dav('getlastmodified', ({ facts }) => lastModified(facts)),
  dav('creationdate', ({ facts }) => isoDate(facts.createdNs)),
  dav('getetag', ({ facts }) => entityTag(facts).replaceAll('"', '&#34;')),
  dav('getcontenttype', (resource) =>
    isFile(resource) ? contentType(nameOf(resource)) : 'httpd/unix-directory',
  ),
  common(dav('iscollection', (resource) => (isFile(resource) ? 'FALSE' : 'TRUE'))),
  common(dav('supportedlock', () => LOCK_ENTRIES)),
  dav('lockdiscovery', ({ locks }) => locks.map(printActiveLock).join('') || undefined),
  // Rucio asks for the space with a PROPFIND without a body, which means allprop.
  common(dav('quota-used-bytes', ({ space }) => space && String(space.usedBytes))),
  common(dav('quota-available-bytes', ({ space }) => space && String(space.availableBytes))),
  dav('owner', ({ facts }) => String(facts.uid)),
  dav('group', ({ facts }) => String(facts.gid)),
  // With the file-type bits: davix takes its idea of the type from them.
  { namespace: LCGDM, name: 'mode', tag: 'L:mode', print: ({ facts }) => facts.mode.toString(8) },
  { namespace: STORM, name: 'Checksum', tag: 's:Checksum', print: ({ digests }) => digests.adler32 },
  {
    namespace: DCACHE,
    name: 'Checksums',
    tag: 'c:Checksums',
    print: ({ digests }) => printDigestList(digests) || undefined,
  },
  {
    namespace: OWNCLOUD,
    name: 'checksums',
    tag: 'oc:checksums',
    print: ({ digests }) => ownCloudChecksums(digests),
  },
  {
    namespace: OWNCLOUD,
    name: 'size',
    tag: 'oc:size',
    onRequest: true,
    print: ({ facts }) => String(facts.size),
  },
  {
    namespace: OWNCLOUD,
    name: 'id',
    tag: 'oc:id',
    onRequest: true,
    print: ({ facts }) => String(facts.inode),
  },
  {
    namespace: OWNCLOUD,
    name: 'permissions',
    tag: 'oc:permissions',
    onRequest: true,
    print: ({ facts }) => ownCloudPermissions(facts),
  },
  {
    namespace: OWNCLOUD,
    name: 'fileid',
    tag: 'oc:fileid',
    onRequest: true,
    print: ({ facts }) => String(facts.inode),
  },
  {
    ...LOCALITY_PROPERTY,
    tag: 'srm:FileLocality',
    onRequest: true,
    print: ({ locality }) => locality && FILE_LOCALITY[locality],
  },
  {
    namespace: APACHE,
    name: 'executable',
    tag: 'a:executable',
    print: (resource) => (isFile(resource) ? (resource.facts.mode & 0o100 ? 'T' : 'F') : undefined),
  },
];

function dav(name: string, print: LiveProperty['print']): LiveProperty {
  return { namespace: DAV, name, tag: `d:${name}`, print };
}

function common(property: LiveProperty): LiveProperty {
  return { ...property, common: true };
}

/** Whole seconds. */
const isoDate = printedSeconds((date) => `${date.toISOString().slice(0, -5)}Z`);

/** Read by rclone with `vendor = owncloud`. */
export function ownCloudChecksums(digests: Digests): string | undefined {
  const known = [
    digests.sha && `SHA1:${digests.sha}`,
    digests.md5 && `MD5:${digests.md5}`,
    digests.adler32 && `ADLER32:${digests.adler32}`,
  ].filter((text) => text !== undefined);
  return known.length > 0 ? `<oc:checksum>${known.join(' ')}</oc:checksum>` : undefined;
}

/** G read, D delete, N rename, V move, W write; of collections C add files, K add collections. The token may allow less. */
function ownCloudPermissions({ kind, mode }: FileFacts): string | undefined {
  const write = kind === 'file' ? 'W' : 'CK';
  return `${mode & 0o444 ? 'G' : ''}DNV${mode & 0o222 ? write : ''}`;
}

/** Whether PROPPATCH must leave it alone: what the file system says is not for clients to set. */
export function isProtected(property: PropertyName): boolean {
  return (
    property.namespace === DAV &&
    LIVE_PROPERTIES.some(
      ({ namespace, name }) => namespace === DAV && name === property.name && name !== 'displayname',
    )
  );
}
