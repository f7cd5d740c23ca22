// Every metric of the server, declared once. Names carry the unit; labels are from closed sets
// (reasons, codes) or from the configuration (NAS names), never from the wire, so the number of
// series is bounded.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { tallied } from './tally.ts'

/** A fresh registry with the server's metrics; one per process, or per test. */
export function createMetrics() {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  return {
    registry,
    requests: tallied({
      name: 'datanet_radius_requests_total',
      help: 'RADIUS packets received, by listening port',
      labelNames: ['port'],
      registers,
    }),
    replies: tallied({
      name: 'datanet_radius_replies_total',
      help: 'RADIUS replies sent, by NAS and packet code',
      labelNames: ['nas', 'code'],
      registers,
    }),
    dropped: new Counter({
      name: 'datanet_radius_dropped_total',
      help: 'RADIUS packets silently discarded, by reason',
      labelNames: ['reason'],
      registers,
    }),
    logins: new Counter({
      name: 'datanet_logins_total',
      help: 'Finished EAP-TLS authentications, by NAS, result and reason',
      labelNames: ['nas', 'result', 'reason'],
      registers,
    }),
    resumedLogins: new Counter({
      name: 'datanet_resumed_logins_total',
      help: 'Those of datanet_logins_total that resumed an earlier TLS session, by NAS and result',
      labelNames: ['nas', 'result'],
      registers,
    }),
    ...tlsMetrics(registers),
    conversations: new Gauge({
      name: 'datanet_eap_conversations',
      help: 'EAP conversations in progress',
      registers,
    }),
    ...moneyMetrics(registers),
    ...blockMetrics(registers),
    // A whole authentication is 4-5 round trips: 10 ms on a loopback, seconds over a slow uplink.
    authenticationSeconds: new Histogram({
      name: 'datanet_authentication_seconds',
      help: 'From the first Access-Request of a conversation to its Accept or Reject',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    }),
    chainHeard: new Gauge({
      name: 'datanet_chain_heard_timestamp_seconds',
      help: 'When the chain node last told that the mirror is at its head',
      registers,
    }),
    chainBlock: new Gauge({
      name: 'datanet_chain_block_number',
      help: 'Newest block in the mirror',
      registers,
    }),
  }
}

/** The TLS engine, and what goes with it. */
function tlsMetrics(registers: Registry[]) {
  return {
    tlsEngine: new Gauge({
      name: 'datanet_tls_engine',
      help: '1 for the TLS engine in use',
      labelNames: ['engine'],
      registers,
    }),
    ocspUntil: new Gauge({
      name: 'datanet_ocsp_next_update_timestamp_seconds',
      help: 'Until when the stapled OCSP response holds; 0 where none is stapled',
      registers,
    }),
  }
}

/** What the books count. */
function moneyMetrics(registers: Registry[]) {
  return {
    sessions: new Gauge({
      name: 'datanet_sessions',
      help: 'Open sessions',
      registers,
    }),
    sessionEnds: new Counter({
      name: 'datanet_session_ends_total',
      help: 'Sessions ended, by cause',
      labelNames: ['why'],
      registers,
    }),
    disconnects: new Counter({
      name: 'datanet_disconnects_total',
      help: 'Disconnect-Requests that ended, by NAS, the reason for them and the result',
      labelNames: ['nas', 'reason', 'result'],
      registers,
    }),
    accountingRecords: tallied({
      name: 'datanet_accounting_records_total',
      help: 'Accounting-Requests taken, by NAS, status and what they were counted for',
      labelNames: ['nas', 'status', 'attribution'],
      registers,
    }),
    accountingFaults: new Counter({
      name: 'datanet_accounting_faults_total',
      help: 'What was odd about Accounting-Requests that were taken all the same',
      labelNames: ['nas', 'fault'],
      registers,
    }),
    payments: new Counter({
      name: 'datanet_payments_total',
      help: 'Vouchers, by outcome: paid, or why not',
      labelNames: ['outcome'],
      registers,
    }),
    meteringKeys: new Counter({
      name: 'datanet_metering_keys_total',
      help: 'Tries to enrol a metering key, by scheme and outcome: enrolled, or why not',
      labelNames: ['scheme', 'outcome'],
      registers,
    }),
    usageReports: new Counter({
      name: 'datanet_usage_reports_total',
      help: 'Signed reports of usage, by outcome: accepted, or why not',
      labelNames: ['outcome'],
      registers,
    }),
    storageFailed: new Gauge({
      name: 'datanet_storage_failed',
      help: '1 while the store can not be written',
      registers,
    }),
  }
}

/** What is known of the blocks that pay access point owners. */
function blockMetrics(registers: Registry[]) {
  return {
    blocks: new Counter({
      name: 'datanet_blocks_total',
      help: 'Periods that ended with a block, by result: notarized, or given-up (it waits)',
      labelNames: ['result'],
      registers,
    }),
    lastBlock: new Gauge({
      name: 'datanet_block_number',
      help: 'The last notarized block of this operator; 0 before the first',
      registers,
    }),
    lastBlockTime: new Gauge({
      name: 'datanet_block_timestamp_seconds',
      help: 'When the last notarized block was built; its age is the time since then',
      registers,
    }),
    merchants: new Gauge({
      name: 'datanet_merchants',
      help: 'Merchants of this operator, by standing: active (they sign), missing',
      labelNames: ['standing'],
      registers,
    }),
    merchantsPutOut: new Counter({
      name: 'datanet_merchants_put_out_total',
      help: 'Merchants put out for missing too many blocks; their locks became credit',
      registers,
    }),
    creditsWaiting: new Gauge({
      name: 'datanet_credits_waiting_units',
      help: 'What was earned and is in no notarized block, base units of the token',
      registers,
    }),
    creditsWaitingAccounts: new Gauge({
      name: 'datanet_credits_waiting_accounts',
      help: 'Accounts whose earnings are in no notarized block',
      registers,
    }),
    shiftsChallenged: new Counter({
      name: 'datanet_shifts_challenged_total',
      help: 'Shifts to other operators that were cut to what no voucher has spent',
      registers,
    }),
    contractCallsFailed: new Counter({
      name: 'datanet_contract_calls_failed_total',
      help: 'Transactions of the operator that were refused, or not mined in time, by call',
      labelNames: ['call'],
      registers,
    }),
    blsEngine: new Gauge({
      name: 'datanet_bls_engine',
      help: '1 for the BLS library that adds up signatures: blst, or noble without it',
      labelNames: ['engine'],
      registers,
    }),
  }
}

export type Metrics = ReturnType<typeof createMetrics>
