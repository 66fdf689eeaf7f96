import { BlockList, isIP } from 'node:net';
import { WeftError } from '@weft/kernel/errors';

/** Addresses and ranges of addresses. */
export type Networks = BlockList;

/** @example parseNetworks('192.0.2.7,2001:db8::/32') */
export function parseNetworks(list: string): Networks {
  const networks = new BlockList();
  for (const entry of list.split(',')) {
    const [, address = '', prefix] = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(entry.trim()) ?? [];
    const version = isIP(address);
    const bits = version === 4 ? 32 : 128;
    if (version === 0 || Number(prefix ?? bits) > bits) {
      throw new WeftError(
        'invalid',
        'invalid-caveat',
        `The caveat is not acceptable: ${JSON.stringify(entry.slice(0, 60))} is no network.`,
      );
    }
    networks.addSubnet(address, Number(prefix ?? bits), version === 4 ? 'ipv4' : 'ipv6');
  }
  return networks;
}

/** IPv4 addresses may come as `::ffff:192.0.2.7`, from sockets that listen for both. */
export function inNetworks(networks: Networks, address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  const version = isIP(plain);
  return version !== 0 && networks.check(plain, version === 4 ? 'ipv4' : 'ipv6');
}
