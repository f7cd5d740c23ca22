// `npm run bench:blocks`: what a period costs off the chain: the tree of a block, the operator's
// build, a merchant's verification (everything new; one merchant in ten changed) and the sum of
// signatures, by merchants and consumers each. Owns the order of things and the report.

import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { type BlsEngine, blsPublicKey, nobleBls } from '../chain/bls.ts'
import { loadNativeBls } from '../chain/bls-native.ts'
import { buildBlock } from '../chain/payplace/build.ts'
import { checkProposal, type SigningView } from '../chain/payplace/check.ts'
import { NO_ENTRIES } from '../chain/payplace/entries.ts'
import { indexBlock, type KnownBlock } from '../chain/payplace/known.ts'
import type { MerchantEntries } from '../chain/payplace/leaf.ts'
import type { BlockProposal, Source } from '../chain/payplace/proposal.ts'
import { collectSignatures } from '../chain/payplace/signers.ts'
import { parseAddress } from '../ethereum/address.ts'
import { payPlaceDomain } from '../ethereum/typed-data.ts'
import { type BlockWorld, createBlockWorld } from './blocks-world.ts'
import { figure, table } from './table.ts'

const USAGE = `usage: npm run bench:blocks -- [--quick] [--full]
  --quick  the two smallest sizes of each kind
  --full   signatures of 10,000 merchants by noble as well (minutes more)
`
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const OPERATOR = 1
const SEED = 0x5eed
const CHANGED_SHARE = 0.1
const CONTRACT = parseAddress(`0x${'c0'.repeat(20)}`)
if (CONTRACT === undefined) throw new Error('no address')
const DOMAIN = payPlaceDomain(31_337n, CONTRACT)
const TIMING = { g0: 0, beta: 86_400, gamma: 3_600, delta: 900, challenge: 172_800, eta: 30 }
const NOW = TIMING.beta + 60
const HASH = Buffer.alloc(32, 1)
/** Figures 6.7 (a) and (b): 100,000 merchants with 10,000 consumers each, on a laptop of 2015. */
const THESIS = { entries: 1e9, treeS: 100, verifyS: 7_200 }

/** blst needs seconds for all of them; noble minutes, so its last one is asked for by --full. */
const SIGNERS_NATIVE = [100, 1_000, 10_000]

const say = (line: string) => process.stdout.write(`${line}\n`)

interface Figures {
  readonly world: BlockWorld
  readonly treeMs: number
  readonly buildMs: number
  readonly firstMs: number
  readonly wholeMs: number
  readonly tenthMs: number
  readonly changesMs: number
  readonly rssMb: number
}

/** Milliseconds of CPU time of this process. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** CPU of some work less what making its input took, which is measured alone, the same calls. */
function costOf(work: () => void, input: () => void): number {
  const start = cpuMs()
  work()
  const middle = cpuMs()
  input()
  return Math.max(0, middle - start - (cpuMs() - middle))
}

function drain(merchants: Iterable<MerchantEntries>): void {
  for (const { entries } of merchants) if (entries.length === 0) throw new Error('no entries')
}

function measure(merchants: number, consumers: number): Figures {
  const world = createBlockWorld(merchants, consumers, OPERATOR, DOMAIN)
  const sources = world.sourcesOf(2)
  let index = indexBlock(OPERATOR, world.all(0, 0), SEED)
  const treeMs = costOf(
    () => {
      index = indexBlock(OPERATOR, world.all(0, 0), SEED)
    },
    () => drain(world.all(0, 0)),
  )
  const previous: KnownBlock = { ...index, entriesOf: (id) => world.entriesOf(id, 0) }
  const bothVersions = () => {
    drain(world.all(0, 0))
    drain(world.all(1, 1))
  }
  const first = verify(world, sources, undefined, 1)
  const whole = verify(world, sources, previous, 1)
  const tenth = verify(world, sources, previous, CHANGED_SHARE)
  const firstMs = costOf(first.whole, () => drain(world.all(1, 1)))
  const wholeMs = costOf(whole.whole, bothVersions)
  const tenthMs = costOf(tenth.whole, bothVersions)
  const changesMs = costOf(tenth.changes, () => {
    drain(changed(world, CHANGED_SHARE))
    drain(changed(world, CHANGED_SHARE))
  })
  const buildMs = costOf(build(world, previous), () => {
    for (let pass = 0; pass < 4; pass++) drain(changed(world, CHANGED_SHARE))
  })
  const rssMb = process.resourceUsage().maxRSS / 1_024
  return { world, treeMs, buildMs, firstMs, wholeMs, tenthMs, changesMs, rssMb }
}

function* changed(world: BlockWorld, share: number): Generator<MerchantEntries> {
  for (let id = 1; id <= world.merchants; id++) {
    if (world.isChanged(id, share)) yield { id, entries: world.entriesOf(id, 1) }
  }
}

const facts = (world: BlockWorld) =>
  Array.from({ length: world.merchants }, (_, i) => {
    return { id: i + 1, locks: [], withdrawn: NO_ENTRIES }
  })

/** The next block where one merchant in ten was paid by each of its consumers. */
function build(world: BlockWorld, previous: KnownBlock): () => void {
  const credits = new Map<number, Buffer>()
  for (const { id, entries } of changed(world, CHANGED_SHARE)) {
    const increases = Buffer.from(entries)
    for (let at = 0; at < increases.length; at += 32) increases.writeUInt32BE(1, at + 28)
    credits.set(id, increases)
  }
  const channel = () => {
    return { deposit: 2n ** 61n, withdrawn: 0n, pendingShift: 0n, best: 2n ** 60n }
  }
  const view = { operator: OPERATOR, k: 1, period: 1, tau: NOW, merchants: facts(world) }
  return () => {
    const result = buildBlock({ ...view, previous, credits, channel, seed: SEED }, () => {})
    if ('fault' in result) throw new Error(result.fault)
  }
}

/** A merchant's check of a block at version 1, sent whole or as changes. */
function verify(
  world: BlockWorld,
  sources: readonly Source[],
  previous: KnownBlock | undefined,
  share: number,
): { readonly whole: () => void; readonly changes: () => void } {
  const { root } = indexBlock(OPERATOR, world.all(1, share), SEED)
  const k = previous === undefined ? 0 : 1
  const prevRoot = previous?.root ?? Buffer.alloc(32)
  const view: SigningView = {
    ...{ domain: DOMAIN, operator: OPERATOR, id: 2, timing: TIMING, now: NOW, headTime: NOW },
    ...{ marginS: 10, snapshot: { number: 1, hash: HASH, time: TIMING.beta }, k, root: prevRoot },
    ...{ merchants: facts(world), previous, signedPeriod: 0, ownEntries: NO_ENTRIES },
    channel: () => ({ deposit: 2n ** 61n, withdrawn: 0n, pendingShift: 0n }),
    // Vouchers that did not change since she signed last are not verified again.
    isVerified: () => share < 1,
    ...{ income: undefined, requireIncome: false, seed: SEED },
  }
  const header = { operator: OPERATOR, k: k + 1, period: 1, prevRoot, root, tau: NOW - 1 }
  const check = (form: BlockProposal['form'], merchants: Iterable<MerchantEntries>) => {
    const proposal = { header, snapshot: { number: 1, hash: HASH }, form, merchants, sources }
    const result = checkProposal(view, proposal, () => {})
    if ('refused' in result) throw new Error(result.refused)
  }
  return {
    whole: () => check('whole', world.all(1, share)),
    changes: () => check('changes', changed(world, share)),
  }
}

type Engine = BlsEngine<unknown, unknown>
/** The one in use first, where it is there; the other is what is left without it. */
const ENGINES = [loadNativeBls(), nobleBls].filter((one) => one !== undefined) as Engine[]

interface SignatureFigures {
  readonly engine: string
  readonly signers: number
  readonly parseMs: number
  readonly sumMs: number
  readonly culpritMs: number
  readonly verifications: number
  readonly rssMb: number
}

/** Of keys 1, 2, 3 …: each is the one before plus the first, which costs next to nothing. */
function answersOf(signers: number): { keys: Buffer[]; signatures: Uint8Array[] } {
  const one = Buffer.alloc(32)
  one[31] = 1
  const signature = nobleBls.signature(nobleBls.sign(HASH, one))
  const first = blsPublicKey(one)
  const key = nobleBls.key(first)
  if (key === undefined || signature === undefined) throw new Error('no point')
  const [keys, signatures] = [[first], [signature]]
  let last = key
  for (let i = 1; i < signers; i++) {
    last = nobleBls.sumKeys([last, key])
    const { x, y } = last.toAffine()
    keys.push(Buffer.from([x, y].map((c) => c.toString(16).padStart(128, '0')).join(''), 'hex'))
    signatures.push(nobleBls.sumSignatures([signatures[i - 1] ?? signature, signature]))
  }
  return { keys, signatures: signatures.map((point) => point.toBytes(true)) }
}

/** Answers to one digest as the operator has them: keys parsed once, signatures every period. */
function measureSignatures(engine: Engine, signers: number): SignatureFigures {
  const { keys, signatures } = answersOf(signers)
  const parsedKeys = keys.map((coding) => engine.key(coding))
  let at = cpuMs()
  const answers = signatures.map((bytes, id) => {
    const [signature, key] = [engine.signature(bytes), parsedKeys[id]]
    if (signature === undefined || key === undefined) throw new Error('no point')
    return { id, key, signature }
  })
  const parseMs = cpuMs() - at
  at = cpuMs()
  const all = collectSignatures(engine, HASH, answers)
  if (all.culprits.length > 0) throw new Error('honest signers were called culprits')
  const sumMs = cpuMs() - at
  at = cpuMs()
  const middle = signers >> 1
  const [first] = answers
  const spoilt = answers.map((one) =>
    one.id === middle ? { ...one, signature: first?.signature } : one,
  )
  const { verifications, culprits } = collectSignatures(engine, HASH, spoilt)
  if (culprits.length !== 1 || culprits[0] !== middle) throw new Error('the culprit got away')
  const culpritMs = cpuMs() - at
  const rssMb = process.memoryUsage().rss / 2 ** 20
  return {
    ...{ engine: engine.name, signers, parseMs, sumMs, culpritMs, verifications, rssMb },
  }
}

function reportBlocks(rows: readonly Figures[]): void {
  const perEntry = (ms: number, { world }: Figures) =>
    figure((ms * 1_000) / (world.merchants * world.consumers), 3)
  const heading = ['merchants x consumers', 'entries', 'tree ms', 'build ms', 'first ms', 'all ms']
  const shown = rows.map((row) => {
    const { merchants, consumers } = row.world
    return [
      `${merchants} x ${consumers}`,
      `${merchants * consumers}`,
      ...[row.treeMs, row.buildMs, row.firstMs, row.wholeMs, row.tenthMs, row.changesMs].map((ms) =>
        figure(ms),
      ),
      ...[row.treeMs, row.firstMs, row.wholeMs, row.tenthMs].map((ms) => perEntry(ms, row)),
      figure(row.rssMb),
    ]
  })
  const more = ['tenth ms', 'changes ms', 'tree us', 'first us', 'all us', 'tenth us', 'RSS MB']
  const thesis = [
    ...['thesis: 100000 x 10000', `${THESIS.entries}`, `${THESIS.treeS * 1_000}`, '-', '-'],
    ...[`${THESIS.verifyS * 1_000}`, '-', '-'],
    ...[figure((THESIS.treeS * 1e6) / THESIS.entries, 3), '-'],
    ...[figure((THESIS.verifyS * 1e6) / THESIS.entries, 3), '-', '-'],
  ]
  say(table('Blocks: CPU of one core', [[...heading, ...more], ...shown, thesis]))
  say(`tree: all leaves hashed (thesis, figure 6.7 a). build: the operator's block, one merchant in
ten credited. A merchant's verification (thesis, figure 6.7 b): first = nothing known, all vouchers
of hers verified; all = every merchant changed, compared with the last block; tenth = one merchant
in ten changed, the block sent whole; changes = the same, only changes sent. us: by entry.
`)
  const last = rows.at(-1)
  if (last === undefined) return
  const scale = THESIS.entries / (last.world.merchants * last.world.consumers)
  const thesisUs = (THESIS.verifyS * 1e6) / THESIS.entries
  const times = (ms: number) =>
    figure(thesisUs / ((ms * 1_000) / (last.world.merchants * last.world.consumers)))
  say(`At the largest size verification takes ${times(last.firstMs)} (first), \
${times(last.wholeMs)} (all), ${times(last.tenthMs)} (tenth), ${times(last.changesMs)} (changes) \
times less an entry
than in the thesis; 100,000 x 10,000 would take ${figure((last.treeMs * scale) / 1_000)} s for the \
tree and ${figure((last.wholeMs * scale) / 1_000)} s to verify.
`)
}

function reportSignatures(rows: readonly SignatureFigures[]): void {
  const heading = ['library', 'signers', 'parse ms', 'sum + verify ms', 'one culprit ms']
  const shown = rows.map(({ engine, signers, verifications, ...ms }) => [
    ...[engine, `${signers}`, figure(ms.parseMs), figure(ms.sumMs), figure(ms.culpritMs)],
    ...[`${verifications}`, figure((ms.parseMs + ms.sumMs) / signers, 3), figure(ms.rssMb)],
  ])
  const more = ['verifications', 'ms each', 'RSS MB']
  say(table('Signatures: CPU of one core', [[...heading, ...more], ...shown]))
  say(`parse: off the wire, with the check of the subgroup; sum + verify: all are honest; one
culprit: found among them by halving, with so many verifications. ms each: parse, sum and verify, by
signer. Keys are parsed once and kept.
`)
  if (ENGINES.length === 1) say('@chainsafe/blst is not installed: noble alone.\n')
}

if (values.help) say(USAGE)
else {
  const cores = cpus()
  say(
    `Node ${process.version}, ${cores.length} x ${cores[0]?.model}, load ${loadavg()[0]?.toFixed(1)}\n`,
  )
  const sizes = values.quick ? [10, 100] : [100, 1_000, 10_000]
  const each = values.quick ? [10, 100] : [10, 100, 1_000]
  // A first round that does not count lets the compiler see every path.
  measure(100, 100)
  reportBlocks(sizes.flatMap((merchants) => each.map((count) => measure(merchants, count))))
  const signers = values.quick ? [10] : values.full ? [100, 1_000, 10_000] : [100, 1_000]
  for (const engine of ENGINES) measureSignatures(engine, 10)
  const counts = (engine: Engine) => (engine.name === 'noble' ? signers : [...SIGNERS_NATIVE])
  reportSignatures(
    ENGINES.flatMap((engine) =>
      (values.quick ? signers : counts(engine)).map((count) => measureSignatures(engine, count)),
    ),
  )
}
