import { parseUuid } from '../core/ids.ts'
import { ASSET_CODE, type Asset, type Market, splitSymbol } from '../core/market.ts'
import type { Rounding } from '../core/money.ts'
import { boolean, choice, decimal, type Field, fraction, integer, type Kind, nullable, text } from './kinds.ts'
import { list, mapping } from './mappings.ts'
import type { Config, DatabaseConfig, ServerConfig, SettlementConfig, WalletConfig } from './model.ts'

/** One setting: everything that validation, the names of its sources and the reference are made from. */
export interface Setting<T> {
  /** The YAML path, `settlement.poll_ms`. */
  readonly path: string
  readonly kind: Kind<T>
  /** The default, as it would be written in YAML. */
  readonly fallback: string
  readonly description: string
  /** The command line's option for it, where it has one of its own. */
  readonly flag: string | null
}

/** A market as it is configured; its assets are looked up once all are known. */
export type MarketEntry = Omit<Market, 'base' | 'quote'>

type Rows<Section> = { readonly [Name in keyof Section]: Setting<Section[Name]> }

interface Table {
  readonly dataDir: Setting<Config['dataDir']>
  readonly server: Rows<ServerConfig>
  readonly database: Rows<DatabaseConfig>
  readonly wallet: Rows<WalletConfig>
  readonly assets: Setting<readonly Asset[]>
  readonly markets: Setting<readonly MarketEntry[]>
  readonly settlement: Rows<SettlementConfig>
}

const HOUR_MS = 3_600_000
const LONGEST_TEXT = 4096
const MOST_INSTRUMENTS = 1000
const ONE = 10n ** 18n

const waitMs = () => integer(0, HOUR_MS)
const rate = () => decimal('a rate between -1 and 1, both excluded', units => units > -ONE && units < ONE)
const size = () => decimal('a decimal above 0', units => units > 0n)

const asset = mapping<Asset>({
  code: field('code', text('1 to 20 of A-Z and 0-9', matching(ASSET_CODE)), null, 'Name of the asset; unique.'),
  scale: field('scale', integer(0, 18), null, 'Places of its smallest unit.'),
})

const market = mapping<MarketEntry>({
  symbol: field('symbol', text('BASE/QUOTE, two different asset codes', acceptSymbol), null, 'The pair; unique.'),
  tickSize: field('tick_size', size(), null, 'Smallest step of a price, in the quote asset.'),
  lotSize: field('lot_size', size(), null, 'Smallest step of a quantity, in the base asset.'),
  minNotional: field(
    'min_notional',
    decimal('a decimal, 0 or above', units => units >= 0n),
    '0',
    'Smallest price × quantity of an order, in the quote asset.',
  ),
  makerFee: field('maker_fee', rate(), '0', 'Share of the notional that the maker pays; below zero for a rebate.'),
  takerFee: field('taker_fee', rate(), '0', 'Share of the notional that the taker pays; below zero for a rebate.'),
  rounding: field(
    'rounding',
    nullable(choice<Rounding>(['half_even', 'half_up', 'down'])),
    'null',
    'How a notional is rounded; needed where tick and lot places together exceed the scale of the quote asset.',
  ),
})

/** The one table of all settings, in the shape of `Config`, so that the compiler misses any that is missing. */
export const SETTINGS: Table = {
  dataDir: setting(
    'data_dir',
    text('a path', acceptPath),
    'legwork-data',
    'Data folder, against the current one.',
    '--data-dir',
  ),
  server: {
    host: setting(
      'server.host',
      text('a host name or an address', matching(/^[A-Za-z0-9._:%-]{1,255}$/)),
      '127.0.0.1',
      'Address to listen on.',
      '--host',
    ),
    port: setting('server.port', integer(0, 65_535), '8080', 'Port to listen on; 0 for any free one.', '--port'),
  },
  database: {
    url: setting(
      'database.url',
      nullable(text('postgres://… or postgresql://…', acceptDatabaseUrl, 'secret')),
      'null',
      'PostgreSQL to use; null for the embedded one in the data folder.',
      '--database-url',
    ),
  },
  wallet: {
    url: setting(
      'wallet.url',
      nullable(text('http://… or https://…, without user name or password', acceptWalletUrl)),
      'null',
      'Wallet service to use; null for the built-in ledger.',
      '--wallet-url',
    ),
    token: setting(
      'wallet.token',
      nullable(
        text('printable ASCII without spaces, 1 to 4096 characters', matching(/^[\x21-\x7e]{1,4096}$/), 'secret'),
      ),
      'null',
      'Bearer token for the wallet service.',
    ),
    idempotent: setting(
      'wallet.idempotent',
      boolean(),
      'true',
      'Whether the wallet takes a repeated key for a repetition.',
    ),
  },
  assets: setting(
    'assets',
    list(asset, MOST_INSTRUMENTS),
    '[{ code: BTC, scale: 8 }, { code: USDT, scale: 8 }]',
    'What can be owned.',
  ),
  markets: setting(
    'markets',
    list(market, MOST_INSTRUMENTS),
    '[{ symbol: BTC/USDT, tick_size: "0.01", lot_size: "0.00001", min_notional: "0", maker_fee: "0.0005", taker_fee: "0.001" }]',
    'What can be traded.',
  ),
  settlement: {
    workerPoolSize: setting('settlement.worker_pool_size', integer(1, 1000), '10', 'Settlements in work at once.'),
    queueCapacity: setting(
      'settlement.queue_capacity',
      integer(1, 1_000_000),
      '1000',
      'Trades held in memory for the workers; the others wait in the database.',
    ),
    retryMaxAttempts: setting(
      'settlement.retry_max_attempts',
      integer(0, 100),
      '3',
      'Retries of a leg after its first attempt.',
    ),
    retryBackoffMs: setting(
      'settlement.retry_backoff_ms',
      waitMs(),
      '1000',
      'Wait before the first retry; doubles with each.',
    ),
    retryMaxBackoffMs: setting(
      'settlement.retry_max_backoff_ms',
      waitMs(),
      '30000',
      'Longest wait between two attempts.',
    ),
    retryJitter: setting(
      'settlement.retry_jitter',
      fraction(0, 1),
      '0.2',
      'Share of a wait it is moved by, either way; 0 for none.',
    ),
    undoMaxAttempts: setting(
      'settlement.undo_max_attempts',
      integer(1, 1000),
      '10',
      'Attempts of one undo before the rollback is parked as incomplete.',
    ),
    undoBackoffMs: setting(
      'settlement.undo_backoff_ms',
      waitMs(),
      '1000',
      'Wait before an undo is repeated; doubles, with the same cap and jitter.',
    ),
    undoSlowRetryMs: setting(
      'settlement.undo_slow_retry_ms',
      integer(1, HOUR_MS),
      '60000',
      'Wait between attempts of a parked rollback.',
    ),
    timeoutMs: setting('settlement.timeout_ms', integer(1, 600_000), '5000', 'Time for one wallet call.'),
    leaseMs: setting(
      'settlement.lease_ms',
      integer(100, HOUR_MS),
      '30000',
      'How long a claim on a settlement lasts; more than timeout_ms.',
    ),
    pollMs: setting('settlement.poll_ms', integer(10, 600_000), '1000', 'Time between two looks for due work.'),
    legOrder: setting(
      'settlement.leg_order',
      choice(['buyer-first', 'debits-first']),
      'buyer-first',
      'Order of the legs on the saga rail.',
    ),
    rail: setting(
      'settlement.rail',
      choice(['auto', 'atomic', 'saga']),
      'auto',
      'How legs reach the wallet; auto for the best it can do.',
      '--rail',
    ),
    deadLetterQueueEnabled: setting(
      'settlement.dead_letter_queue_enabled',
      boolean(),
      'true',
      'Whether a settlement that failed for good leaves a dead letter.',
    ),
    feeUserId: setting(
      'settlement.fee_user_id',
      text('a UUID', id => parseUuid(id) ?? undefined),
      '00000000-0000-0000-0000-000000000001',
      "The exchange's fee account.",
    ),
  },
}

/** All settings in the order of the table. */
export const ALL_SETTINGS: readonly Setting<unknown>[] = Object.values(SETTINGS).flatMap((part: object) =>
  isSetting(part) ? [part] : Object.values<Setting<unknown>>({ ...part }),
)

function isSetting(part: object): part is Setting<unknown> {
  return 'path' in part
}

/** `settlement.poll_ms` → `LEGWORK_SETTLEMENT_POLL_MS`. */
export function environmentName(path: string): string {
  return `LEGWORK_${path.replaceAll('.', '_').toUpperCase()}`
}

function setting<T>(
  path: string,
  kind: Kind<T>,
  fallback: string,
  description: string,
  flag: string | null = null,
): Setting<T> {
  return { path, kind, fallback, description, flag }
}

function field<T>(name: string, kind: Kind<T>, fallback: string | null, description: string): Field<T> {
  return { name, kind, fallback, description }
}

function matching(pattern: RegExp): (text: string) => string | undefined {
  return value => (pattern.test(value) ? value : undefined)
}

function acceptSymbol(symbol: string): string | undefined {
  return splitSymbol(symbol) === null ? undefined : symbol
}

function acceptPath(path: string): string | undefined {
  return path.length > 0 && path.length <= LONGEST_TEXT && !path.includes('\0') ? path : undefined
}

// A socket's address has credentials and no host, `postgres://user:password@/name?host=/folder`: the driver takes it, URL
// does not.
function acceptDatabaseUrl(url: string): string | undefined {
  return parseUrl(url.replace('@/', '@localhost/'), /^postgres(?:ql)?:$/) === null ? undefined : url
}

// fetch refuses an address with credentials in it, at the first call; better at the start.
function acceptWalletUrl(url: string): string | undefined {
  const parsed = parseUrl(url, /^https?:$/)
  return parsed?.username === '' && parsed.password === '' ? url : undefined
}

// URL would take "http:wallet" and drop a line break; no one means either.
function parseUrl(url: string, protocol: RegExp): URL | null {
  if (url.length > LONGEST_TEXT || !/^[^:]+:\/\/\S*$/.test(url)) return null
  const parsed = URL.parse(url)
  return parsed !== null && protocol.test(parsed.protocol) ? parsed : null
}
