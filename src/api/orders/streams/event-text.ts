/** A server-sent event (WHATWG HTML, 9.2); JSON has no line breaks of its own. */
export function eventText(name: string, id: number | string, data: unknown): string {
  return `event: ${name}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`
}
