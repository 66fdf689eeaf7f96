import { measureTokenVerification, type Rates } from '../packages/kernel/test/measure-token-verification.ts';
import { type Benchmark, type Figure, median } from './benchmark.ts';

const VERIFICATION = { rounds: 7, tokens: 1000 };

/** What the verification of bearer tokens costs every component. */
const benchmark: Benchmark = {
  name: 'token-verification',
  component: 'identity',
  async run(note) {
    const { fresh, together, cached } = await measureTokenVerification(VERIFICATION);
    note(
      `verification: ${VERIFICATION.rounds} rounds of ${VERIFICATION.tokens} RS256-2048 tokens, one after the other; then 16 at a time`,
    );
    return [
      ...compared('verify-uncached', fresh, 0.8, 'bare jose'),
      ...compared('verify-uncached-16-at-once', together, null, 'bare jose'),
      ...compared('verify-cached', cached, 0.6, 'SHA-256 and a Map'),
    ];
  },
};

/** The ratio that counts, and our rate beside it. */
function compared(name: string, rates: Rates, target: number | null, peer: string): Figure[] {
  const rate = median(rates.ours);
  const ratio = rate / median(rates.peer);
  return [
    { name, value: ratio, unit: `of ${peer}`, target, better: 'higher', peer, ratio },
    {
      name: `${name}-rate`,
      value: rate,
      unit: '/s',
      target: null,
      better: 'higher',
      peer: null,
      ratio: null,
    },
  ];
}

export default benchmark;
