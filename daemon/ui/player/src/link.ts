// A WebSocket kept open by a session: the shell around session.ts, which has all the decisions.

import { type Event, POLICY, Session, type State } from "./session.ts";

export interface LinkHost {
  /** A new connection is there. */
  opened(): void;
  text(message: string, now: number): void;
  binary(message: ArrayBuffer, now: number): void;
  state(state: State, reason: string | null): void;
  /** The connection was lost, or was never made, `neverOpened` times in a row. */
  lost(neverOpened: number): void;
}

export class Link {
  readonly session = new Session(Math.random);
  private socket: WebSocket | null = null;
  private timer: { at: number; id: ReturnType<typeof setTimeout> } | null = null;
  private told: State | null = null;

  constructor(
    private readonly url: string,
    private readonly host: LinkHost,
    private readonly now: () => number = () => performance.now(),
  ) {}

  handle(event: Event): void {
    const now = this.now();
    this.session.handle(event, now);
    this.carryOut(now);
  }

  /** Sends a message; it is lost when there is no connection, as the next one begins anew. */
  send(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Makes the connection anew; `slowly` where the box refuses, and soon would again. */
  renew(why: string, slowly = false): void {
    if (!this.socket) return;
    this.disconnect();
    this.handle({ type: "lost", code: slowly ? POLICY : 0, reason: why });
  }

  private carryOut(now: number): void {
    for (let action = this.session.poll(); action; action = this.session.poll()) {
      if (action === "connect") this.connect();
      else this.disconnect();
    }
    this.schedule(now);
    if (this.session.state !== this.told) {
      this.told = this.session.state;
      this.host.state(this.session.state, this.session.reason);
    }
  }

  /** A timer that fires too early only looks again: so there is no new one for each message. */
  private schedule(now: number): void {
    const deadline = this.session.deadline();
    if (this.timer && deadline !== null && this.timer.at <= deadline) return;
    if (this.timer) clearTimeout(this.timer.id);
    this.timer = null;
    if (deadline === null) return;
    const look = () => {
      this.timer = null;
      const later = this.now();
      this.session.tick(later);
      this.carryOut(later);
    };
    this.timer = { at: deadline, id: setTimeout(look, Math.max(0, deadline - now) + 1) };
  }

  private connect(): void {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const mine = () => this.socket === socket;
    socket.onopen = () => {
      if (!mine()) return;
      this.handle({ type: "opened" });
      this.host.opened();
    };
    socket.onmessage = ({ data }) => {
      if (!mine()) return;
      const now = this.now();
      if (typeof data === "string") this.host.text(data, now);
      else this.host.binary(data, now);
    };
    socket.onclose = ({ code, reason }) => {
      if (!mine()) return;
      this.socket = null;
      this.handle({ type: "lost", code, reason });
      this.host.lost(this.session.neverOpened);
    };
  }

  private disconnect(): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
}
