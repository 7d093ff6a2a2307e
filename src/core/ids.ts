const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/

/** The id lower-cased, or null when the text is not a UUID in the 8-4-4-4-12 form (any version). */
export function parseUuid(text: string): string | null {
  return UUID.test(text) ? text.toLowerCase() : null
}
