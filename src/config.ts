/**
 * The configuration: defaults, then `config.yaml`, then the environment, then flags; the later wins. What a source says is
 * checked even where a later one overrides it, and all faults are told at once. No other module reads the environment.
 */
import { resolve } from 'node:path'
import { ConfigError, type ConfigFault, describeOrigin, fault } from './config/faults.ts'
import { resolveMarkets } from './config/instruments.ts'
import type { Config, SettlementConfig } from './config/model.ts'
import type { Origin, Raw } from './config/raw.ts'
import { SETTINGS, type Setting } from './config/settings.ts'
import { ADMIN_TOKEN, defaultLayer, environmentLayer, fileLayer, flagLayer, type Layer } from './config/sources.ts'

export { ConfigError, type ConfigFault } from './config/faults.ts'
export type {
  Config,
  DatabaseConfig,
  RailChoice,
  ServerConfig,
  SettlementConfig,
  WalletConfig,
} from './config/model.ts'
export { describeSettings, type SettingDescription } from './config/reference.ts'

export interface ConfigSources {
  /** `--config`, against `cwd`: must be there. Null: `config.yaml` in `cwd`, if there is one. */
  readonly path: string | null
  readonly env: Readonly<Record<string, string | undefined>>
  /** By the path of the setting, such as `server.port`; the text is converted by the setting's kind. */
  readonly flags: Readonly<Record<string, string>>
  /** What relative paths start from, `data_dir` too. */
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: Config
  /** What is odd but harmless, one line each; never a secret. */
  readonly warnings: readonly string[]
}

/**
 * Reads, checks and completes the configuration. Throws `ConfigError` with every fault at once; what only shows between
 * settings (a lease against its timeout, a market against its assets) is looked at where they are right by themselves.
 */
export function loadConfig({ path, env, flags, cwd }: ConfigSources): LoadedConfig {
  const faults: ConfigFault[] = []
  const warnings: string[] = []
  const layers = [
    defaultLayer(faults),
    fileLayer(path, cwd, faults),
    environmentLayer(env, faults, warnings),
    flagLayer(flags, faults),
  ]
  const adminToken = readAdminToken(env[ADMIN_TOKEN] ?? null, faults, warnings)
  const config = assemble({ layers, faults }, cwd, adminToken)
  if (faults.length > 0) throw new ConfigError(faults)
  return { config, warnings }
}

/** `loadConfig` with the environment and the current folder of this process. */
export function loadProcessConfig(path: string | null, flags: ConfigSources['flags']): LoadedConfig {
  return loadConfig({ path, flags, env: process.env, cwd: process.cwd() })
}

interface Reading {
  /** The later wins. */
  readonly layers: readonly Layer[]
  readonly faults: ConfigFault[]
}

function assemble(reading: Reading, cwd: string, adminToken: string | null): Config {
  const assets = effective(SETTINGS.assets, reading)
  const markets = effective(SETTINGS.markets, reading)
  const settlement = section(SETTINGS.settlement, reading)
  checkLease(settlement, reading)
  return {
    dataDir: resolve(cwd, effective(SETTINGS.dataDir, reading) ?? ''),
    server: section(SETTINGS.server, reading),
    database: section(SETTINGS.database, reading),
    wallet: section(SETTINGS.wallet, reading),
    assets: assets ?? [],
    markets:
      assets === undefined || markets === undefined
        ? []
        : resolveMarkets(
            { items: assets, raw: winner(SETTINGS.assets, reading) },
            { items: markets, raw: winner(SETTINGS.markets, reading) },
            reading.faults,
          ),
    settlement,
    adminToken,
  }
}

/** The value in force; undefined when it is at fault. What an earlier source says is checked too. */
function effective<T>({ path, kind }: Setting<T>, { layers, faults }: Reading): T | undefined {
  let value: T | undefined
  for (const layer of layers) {
    const raw = layer.get(path)
    if (raw !== undefined) value = kind.read(raw, path, faults)
  }
  return value
}

/** What the last source that names a setting says. */
function winner<T>({ path }: Setting<T>, { layers }: Reading): Raw {
  const raw = layers.findLast(layer => layer.has(path))?.get(path)
  if (raw === undefined) throw new Error(`setting ${path} has no default`)
  return raw
}

function section<T extends object>(settings: { readonly [Name in keyof T]: Setting<T[Name]> }, reading: Reading): T {
  const values = Object.entries<Setting<unknown>>(settings).map(([name, setting]) => {
    return [name, effective(setting, reading)] as const
  })
  // The settings are exactly T's fields. A value is undefined only with a fault added, and then nobody gets to see it.
  return Object.fromEntries(values) as T
}

/** A lease that ends while a call is still allowed to run would hand the same settlement to two workers. */
function checkLease({ leaseMs, timeoutMs }: SettlementConfig, reading: Reading): void {
  // A value at fault is undefined, and then neither is above the other.
  if (!(leaseMs <= timeoutMs)) return
  const lease = SETTINGS.settlement.leaseMs
  const timeout = SETTINGS.settlement.timeoutMs
  const timeoutOrigin = describeOrigin(winner(timeout, reading).at)
  const problem = `not above ${timeout.path}, which is ${timeoutMs} (${timeoutOrigin})`
  const details = { value: `${leaseMs}`, allowed: `a whole number above ${timeoutMs}` }
  reading.faults.push(fault(winner(lease, reading).at, lease.path, problem, details))
}

/** Short keys can be guessed, but whoever sets one may have reasons, such as a demonstration. */
const SHORT_ADMIN_TOKEN = 16

function readAdminToken(token: string | null, faults: ConfigFault[], warnings: string[]): string | null {
  if (token === null) return null
  if (!/^[\x21-\x7e]{1,512}$/.test(token)) {
    const origin: Origin = { source: 'environment', name: ADMIN_TOKEN, line: null, column: null }
    const value = token === '' ? 'nothing' : '***'
    const allowed = 'printable ASCII without spaces, 1 to 512 characters'
    faults.push(fault(origin, ADMIN_TOKEN, 'not allowed', { value, allowed }))
  } else if (token.length < SHORT_ADMIN_TOKEN) {
    warnings.push(
      `environment variable ${ADMIN_TOKEN} is shorter than ${SHORT_ADMIN_TOKEN} characters; it can be guessed`,
    )
  }
  return token
}
