/**
 * The port to a wire: one request, one answer, within one deadline. It knows nothing of wallets; what an answer means is
 * decided in outcomes.ts.
 */

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  /** From the root of the service, with its query; percent-encoded already. */
  readonly path: string
  /** Beside those that every request of the transport has. */
  readonly headers: Readonly<Record<string, string>>
  /** JSON; null: none. */
  readonly body: string | null
  /** The most time from now until the answer is there whole. */
  readonly deadlineMs: number
}

/** An answer that came whole. */
export interface HttpAnswer {
  readonly kind: 'answer'
  readonly status: number
  readonly contentType: string | null
  /** As it was sent. */
  readonly retryAfter: string | null
  readonly body: string
}

/** No byte of the request left: whatever it asks for has not been asked. */
export interface NotSent {
  readonly kind: 'not_sent'
  readonly code: string
}

/** The request, or a part of it, left, and no whole answer came: what it asks for is perhaps done. */
export interface Lost {
  readonly kind: 'lost'
  readonly code: LostCode
}

export type LostCode =
  | 'TIMEOUT'
  | 'CONNECTION_LOST'
  /** One before it on the connection that they shared got no answer, and so neither did this one. */
  | 'LOST_BEHIND'
  | 'ANSWER_CUT'
  | 'ANSWER_MALFORMED'
  | 'ANSWER_TOO_LARGE'

export type Sent = HttpAnswer | NotSent | Lost

export interface HttpTransport {
  /** Never sends a request twice, and never follows a redirect. Does not reject. */
  send(request: HttpRequest): Promise<Sent>
  /**
   * What reading the answer showed: that it is to its own request, or that it is to another one. Where requests share a
   * connection only their order says which answer is whose, and this is how the transport learns whether a server keeps it.
   */
  confirm(answer: HttpAnswer, isOwn: boolean): void
  /** What is under way is `lost`, what waits is `not_sent`. */
  close(): void
}
