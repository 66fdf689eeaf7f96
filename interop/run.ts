// npm run interop [-- NAME...]: starts an instance, runs the example twin on it and lets real clients loose. NAME is a peer
// or a component; without NAME every peer's quick part runs. Last line: `N passed, N failed, N skipped`.
import { globSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startInstance } from './harness/instance.ts';
import type { Peer, Suite } from './harness/peer.ts';
import { PeerUnavailable } from './harness/peer-unavailable.ts';
import { PORT_BASE } from './harness/ports.ts';
import { createTools } from './harness/tools.ts';

const names = process.argv.slice(2).filter((name) => name !== '--');
const ci = process.env.CI === 'true';
const cache = path.join(import.meta.dirname, '..', 'node_modules', '.cache', 'interop');
mkdirSync(cache, { recursive: true });

const peers: Peer[] = [];
for (const file of globSync('*/peer.ts', { cwd: import.meta.dirname })
  .filter((name) => !name.startsWith('harness'))
  .sort()) {
  const { default: peer }: { default: Peer } = await import(path.join(import.meta.dirname, file));
  peers.push(peer);
}
const chosen = peers.filter(
  (peer) => names.length === 0 || names.some((name) => peer.name === name || peer.components.includes(name)),
);
chosen.sort((one, other) => Number(one.last ?? false) - Number(other.last ?? false));
if (chosen.length === 0) {
  console.error(`interop: no peer ${names.join(', ')}. Peers: ${peers.map(({ name }) => name).join(', ')}.`);
  process.exit(64);
}

const counts = { passed: 0, failed: 0, skipped: 0 };
const tools = createTools(cache);
const instance = await startInstance(tools, PORT_BASE);
try {
  await instance.runTwin();
  for (const peer of chosen) await runPeer(peer);
} catch (error) {
  counts.failed += 1;
  console.error(error instanceof Error ? error.message : error);
} finally {
  await instance.stop();
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed > 0 || (ci && counts.skipped > 0) ? 1 : 0);

async function runPeer(peer: Peer): Promise<void> {
  console.log(`\n${peer.name} (${peer.components.join(', ')})`);
  try {
    await peer.install(tools);
  } catch (error) {
    if (!(error instanceof PeerUnavailable)) throw error;
    counts.skipped += 1;
    console.log(`  skipped: ${error.message}`);
    return;
  }
  const suite: Suite = {
    instance,
    tools,
    folder: mkdtempSync(path.join(tmpdir(), `weft-${peer.name}-`)),
    async check(name, work) {
      const startedAt = performance.now();
      try {
        await work();
        counts.passed += 1;
        console.log(`  ✓ ${name}  ${Math.round(performance.now() - startedAt)} ms`);
      } catch (error) {
        counts.failed += 1;
        console.log(`  ✗ ${name}\n${indent(error instanceof Error ? error.message : String(error))}`);
      }
    },
    skip(name, why) {
      counts.skipped += 1;
      console.log(`  skipped: ${name}: ${why}`);
    },
  };
  await peer.quick(suite);
  if (names.length > 0) await peer.full?.(suite);
}

function indent(text: string): string {
  return text.replace(/^/gm, '      ');
}
