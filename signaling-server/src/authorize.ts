// Asks the authorize hook, the caller's or the one for tokens: in time, and so that one which throws refuses.
import type { Log } from './log.ts'
import type { FatalErrorCode } from './wire.ts'

export interface AuthorizeRequest {
  /** A room id; on the y-webrtc path a topic. */
  readonly room: string
  /** The peer id; undefined on the y-webrtc path, whose peers have none. */
  readonly id: string | undefined
  /** As the peer sent it, unchecked: in its hello; on the y-webrtc path in the query (`?token=…`). */
  readonly token: string | undefined
  readonly origin: string | undefined
  /** An IPv4 address, or an IPv6 network `…::/64`. */
  readonly address: string
}

/**
 * `refuse-peer` closes with 4401, `refuse-room` with 4403. The object allows and names the user, as whom TURN credentials
 * are minted (else they name the peer id).
 */
export type AuthorizeVerdict =
  | 'allow'
  | 'refuse-peer'
  | 'refuse-room'
  | { readonly verdict: 'allow'; readonly user: string }

/** Says who may join which room. One that throws, or takes too long, refuses: the peer is asked to come later (1013). */
export type Authorize = (request: AuthorizeRequest) => AuthorizeVerdict | Promise<AuthorizeVerdict>

export type Answer =
  | { readonly allowed: true; readonly user: string | undefined }
  | { readonly allowed: false; readonly error: FatalErrorCode }

export async function askAuthorize(
  authorize: Authorize | undefined,
  request: AuthorizeRequest,
  timeoutMs: number,
  log: Log,
): Promise<Answer> {
  if (authorize === undefined) return { allowed: true, user: undefined }
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<'timeout'>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, 'timeout')
  })
  try {
    // Through a function, so that a hook which throws at once is caught like one that rejects.
    const verdict = await Promise.race([(async () => authorize(request))(), timeout])
    if (verdict === 'timeout') {
      log({ event: 'authorize-failed', level: 'info', reason: 'timeout' })
      return { allowed: false, error: 'server-trouble' }
    }
    return answerOf(verdict)
  } catch (error) {
    // Only its name: a message could hold the token.
    log({ event: 'authorize-failed', level: 'info', reason: error instanceof Error ? error.name : typeof error })
    return { allowed: false, error: 'server-trouble' }
  } finally {
    clearTimeout(timer)
  }
}

function answerOf(verdict: AuthorizeVerdict): Answer {
  if (verdict === 'allow') return { allowed: true, user: undefined }
  if (verdict === 'refuse-room') return { allowed: false, error: 'room-refused' }
  // A hook in plain JavaScript may answer anything: what is not understood is a no.
  if (typeof verdict !== 'object' || verdict?.verdict !== 'allow') return { allowed: false, error: 'not-authorized' }
  return { allowed: true, user: verdict.user }
}
