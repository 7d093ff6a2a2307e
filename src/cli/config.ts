import { type Config, loadProcessConfig } from '../config.ts'
import { CommandError, EXIT } from './exit-status.ts'
import type { CommonOptions } from './main.ts'

/** Options that are settings, by the name of the setting. */
const SETTINGS = {
  dataDir: 'data_dir',
  databaseUrl: 'database.url',
  host: 'server.host',
  port: 'server.port',
  walletUrl: 'wallet.url',
  rail: 'settlement.rail',
} as const

type SettingOptions = CommonOptions & { readonly [Name in keyof typeof SETTINGS]?: string }

/** The configuration of a command; warnings go to standard error. Throws `ConfigError`. */
export function configOf(options: SettingOptions): Config {
  const flags: Record<string, string> = {}
  for (const [option, setting] of Object.entries(SETTINGS)) {
    const value = options[option as keyof typeof SETTINGS]
    if (value !== undefined) flags[setting] = value
  }
  const { config, warnings } = loadProcessConfig(options.config ?? null, flags)
  for (const warning of warnings) process.stderr.write(`legwork: warning: ${warning}\n`)
  return config
}

/** Of a command that funds users and checks the books: refuses a wallet elsewhere, whose money is not there to play with. */
export function settlingConfigOf(options: SettingOptions): Config {
  const config = configOf(options)
  if (config.wallet.url === null) return config
  const message = 'wallet.url: this command settles on the built-in wallet only; leave it out'
  throw new CommandError(EXIT.configuration, message)
}
