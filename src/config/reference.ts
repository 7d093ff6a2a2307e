import { ALL_SETTINGS, environmentName } from './settings.ts'

/** One row of the printed reference: a setting, or a field of a list's items. */
export interface SettingDescription {
  /** `settlement.poll_ms`; a field is `markets[].tick_size`. */
  readonly path: string
  /** The variable; null for a field, since a list is given whole, as JSON or YAML. */
  readonly environment: string | null
  /** The command line's option, where it has one of its own. */
  readonly flag: string | null
  readonly type: string
  readonly allowed: string
  /** The default as it would be written in YAML; null where a value has to be given. */
  readonly fallback: string | null
  readonly isSecret: boolean
  readonly description: string
}

/** Every setting and every field of a list's items, in the order of the default document; the docs are made from it. */
export function describeSettings(): readonly SettingDescription[] {
  return ALL_SETTINGS.flatMap(({ path, kind, fallback, description, flag }) => {
    const { type, allowed, isSecret } = kind
    const environment = environmentName(path)
    const fields = kind.fields.map(field => ({
      path: `${path}[].${field.name}`,
      environment: null,
      flag: null,
      type: field.kind.type,
      allowed: field.kind.allowed,
      fallback: field.fallback,
      isSecret: field.kind.isSecret,
      description: field.description,
    }))
    return [{ path, environment, flag, type, allowed, fallback, isSecret, description }, ...fields]
  })
}
