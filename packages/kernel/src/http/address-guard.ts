import { BlockList, isIP } from 'node:net';

/**
 * Addresses that a request made on a user's behalf must not reach (server-side request forgery): this host, private and
 * link-local networks (cloud metadata services among them), multicast and reserved ranges. RFC 6890 and RFC 4193.
 */
const INTERNAL = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  INTERNAL.addSubnet(network, prefix, 'ipv4');
  // The same network written as an IPv4-mapped IPv6 address.
  INTERNAL.addSubnet(`::ffff:${network}`, 96 + prefix, 'ipv6');
}
for (const [network, prefix] of [
  // IPv4 addresses in the ways that RFC 4291, 6052, 8215, 3056 and 4380 wrote them before or besides `::ffff:`: a gateway
  // would take a packet for any of them to where they point.
  ['::', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  INTERNAL.addSubnet(network, prefix, 'ipv6');
}

/** Whether `address` (an IP literal) belongs to an internal network. */
export function isInternalAddress(address: string): boolean {
  const family = isIP(address);
  // With a zone (`fe80::1%eth0`) it is of a link of ours.
  if (family === 0 || address.includes('%')) return true;
  return INTERNAL.check(address, family === 6 ? 'ipv6' : 'ipv4');
}
