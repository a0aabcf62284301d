// One session of live video by WebRTC: an offer is posted, the answer comes back, and at the end the session is deleted
// (WHEP, draft-ietf-wish-whep).

/** Finding out how this side is seen from outside takes no longer, in ms; what was found by then is offered. */
const GATHER_MS = 2000;
const PATIENCE_MS = 25_000;
/** Answers that will not change: no such thing, nothing that this browser takes, a box without WebRTC. */
const NEVER = [405, 406, 415, 422, 501];

export interface WhepHost {
  /** The pictures will come in here. */
  media(stream: MediaStream, receiver: RTCRtpReceiver): void;
  /** It is over: it was `lost`; the box has `refused` it, for now; or it will `never` be, whatever is tried. */
  ended(why: string, fate: "lost" | "refused" | "never"): void;
}

export class WhepSession {
  /** The epoch of all pictures of this session; null before the answer. */
  epoch: number | null = null;
  private readonly peer = new AbortController();
  private connection: RTCPeerConnection | null = null;
  private place: string | null = null;

  constructor(
    private readonly url: string,
    private readonly host: WhepHost,
  ) {}

  start(): void {
    this.run().catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      if (error instanceof Refused) this.end(why, NEVER.includes(error.status) ? "never" : "refused");
      else this.end(why, "lost");
    });
  }

  /** Ends it; nothing more is told. */
  close(): void {
    if (this.peer.signal.aborted) return;
    this.peer.abort();
    this.connection?.close();
    this.connection = null;
    this.forget();
  }

  private async run(): Promise<void> {
    const { signal } = this.peer;
    const iceServers = serversOf((await this.ask({ method: "OPTIONS" })).headers.get("link"));
    if (signal.aborted) return;
    const connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.connection = connection;
    connection.ontrack = ({ track, receiver, streams }) =>
      this.host.media(streams[0] ?? new MediaStream([track]), receiver);
    connection.onconnectionstatechange = () => {
      const { connectionState: state } = connection;
      if (state === "failed" || state === "closed") this.end(`the connection is ${state}`, "lost");
    };
    connection.addTransceiver("video", { direction: "recvonly" });
    await connection.setLocalDescription();
    // Without servers outside, the box learns by the browser's own checks where it is.
    if (iceServers.length > 0) await gathered(connection, signal);
    const sdp = connection.localDescription?.sdp ?? "";
    if (signal.aborted) return;
    const answer = await this.ask({ method: "POST", body: sdp, headers: { "content-type": "application/sdp" } });
    const place = answer.headers.get("location");
    this.place = place && new URL(place, this.url).href;
    if (signal.aborted) {
      // Closed in the meantime.
      this.forget();
      return;
    }
    this.epoch = Number(answer.headers.get("synoptic-epoch") ?? Number.NaN);
    await connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  private async ask(request: RequestInit): Promise<Response> {
    // Not by the signal of the end: a session that begins all the same is to be deleted, so its place is wanted.
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(this.url, { ...request, signal, cache: "no-store" });
    if (!answer.ok) throw new Refused(answer.status, await detail(answer));
    return answer;
  }

  private end(why: string, fate: "lost" | "refused" | "never"): void {
    if (this.peer.signal.aborted) return;
    this.close();
    this.host.ended(why, fate);
  }

  private forget(): void {
    const place = this.place;
    this.place = null;
    // One that is not deleted, as the page is gone, ends by itself.
    if (place) fetch(place, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

class Refused extends Error {
  constructor(
    readonly status: number,
    why: string,
  ) {
    super(why);
  }
}

async function detail(answer: Response): Promise<string> {
  try {
    return String((await answer.json()).detail);
  } catch {
    return `the box answered ${answer.status}`;
  }
}

function gathered(connection: RTCPeerConnection, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      connection.removeEventListener("icegatheringstatechange", look);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, GATHER_MS);
    const look = () => {
      if (connection.iceGatheringState === "complete") done();
    };
    connection.addEventListener("icegatheringstatechange", look);
    signal.addEventListener("abort", done);
    look();
  });
}

/** STUN and TURN servers of `Link` headers (RFC 9725 section 4.6). */
export function serversOf(links: string | null): RTCIceServer[] {
  const found: RTCIceServer[] = [];
  for (const [, urls, parameters] of (links ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[a-z-]+="[^"]*")*)/g)) {
    const of = new Map(
      [...(parameters ?? "").matchAll(/([a-z-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value] as const),
    );
    if (of.get("rel") !== "ice-server" || !urls) continue;
    const [username, credential] = [of.get("username"), of.get("credential")];
    found.push(username !== undefined && credential !== undefined ? { urls, username, credential } : { urls });
  }
  return found;
}
