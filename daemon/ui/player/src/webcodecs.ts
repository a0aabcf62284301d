// Coded pictures to decoded ones by WebCodecs. Held in coded form, as hardware decoders own few pictures; decoded a
// moment before they are due.

import type { Playout } from "./hold.ts";
import type { StreamMessage } from "./messages.ts";
import { Recent } from "./quantile.ts";
import type { Ready, Transport, TransportCounts, TransportHost } from "./transport.ts";
import { Underway } from "./transport.ts";
import type { Coded } from "./wire.ts";

/** Pictures inside the decoder and decoded at most, but for those that are late: hardware decoders own about eight. */
const DECODED = 6;
/** The decoder is given a picture this long before it is due beyond the time it takes: two refreshes at 60 Hz, in ms. */
const LEAD_MS = 34;
/** What is due this soon is shown now: half a refresh early is nearer than half a one late, in ms. */
const EARLY_MS = 8;
/** A picture that a decoder has not given back after this long is one that it never will, in ms. */
const FORGET_MS = 2000;
/** A decoder that lags this many pictures behind never catches up: on to the next key picture. */
const LAG = 45;
/** Coded pictures held at most: hold of a second at 60 fps, and a burst at the start. */
const HELD = 600;

export class WebCodecsTransport implements Transport {
  readonly format = "h264";
  readonly counts: TransportCounts = { passed: 0, dropped: 0, failures: 0 };

  private decoder: VideoDecoder | null = null;
  private codec = "";
  private epoch = -1;
  private stale = true;
  private needsKey = true;
  private held: Coded[] = [];
  private decoded: Ready[] = [];
  private readonly underway = new Underway(256);
  private readonly given = new Map<number, number>();
  private readonly spent = new Recent(120);

  constructor(
    private readonly playout: Playout,
    private readonly host: TransportHost,
    private readonly now: () => number,
  ) {}

  stream(message: StreamMessage): void {
    this.codec = message.codec;
    this.stale = true;
  }

  push(coded: Coded, now: number): void {
    if (this.held.length >= HELD) {
      this.counts.dropped += this.held.length;
      this.held = [];
      this.needsKey = true;
    }
    this.held.push(coded);
    this.pump(now);
  }

  take(now: number): Ready | null {
    this.pump(now);
    let newest: Ready | null = null;
    while (this.decoded[0]) {
      const due = this.playout.due(this.decoded[0].key.mediaUs / 1000);
      if (due !== null && due > now + EARLY_MS) break;
      if (newest) {
        newest.picture.close();
        this.counts.passed += 1;
      }
      newest = this.decoded.shift() ?? null;
    }
    this.pump(now);
    return newest;
  }

  reset(): void {
    this.held = [];
    this.needsKey = true;
    this.clear();
  }

  close(): void {
    this.reset();
    this.end();
  }

  /** Gives the decoder what is due soon. */
  private pump(now: number): void {
    for (const [mediaUs, at] of this.given) {
      if (now - at < FORGET_MS) break;
      this.given.delete(mediaUs);
    }
    const lead = LEAD_MS + (this.spent.quantile(0.95) ?? 10);
    while (this.held[0]) {
      const due = this.playout.due(this.held[0].key.mediaUs / 1000);
      if (due !== null && due - lead > now) break;
      if (due !== null && due > now && this.given.size + this.decoded.length >= DECODED) break;
      const coded = this.held.shift();
      if (coded) this.decode(coded, now);
    }
  }

  private decode(coded: Coded, now: number): void {
    if (coded.keyPicture && (this.stale || coded.key.epoch !== this.epoch || !this.decoder))
      this.begin(coded.key.epoch);
    if (coded.keyPicture) this.needsKey = false;
    if (!this.decoder || this.needsKey || coded.key.epoch !== this.epoch) {
      this.counts.dropped += 1;
      return;
    }
    if (this.decoder.decodeQueueSize > LAG) {
      this.needsKey = true;
      this.counts.dropped += 1;
      return;
    }
    this.underway.add(coded);
    this.given.set(coded.key.mediaUs, now);
    this.decoder.decode(
      new EncodedVideoChunk({
        type: coded.keyPicture ? "key" : "delta",
        timestamp: coded.key.mediaUs,
        data: coded.data,
      }),
    );
  }

  private begin(epoch: number): void {
    this.end();
    this.epoch = epoch;
    this.stale = false;
    this.needsKey = true;
    this.underway.clear();
    // The decoder is told the media time, and gives it back with the picture: that and its epoch are the key.
    const decoder: VideoDecoder = new VideoDecoder({
      output: (frame) => {
        if (this.decoder === decoder) this.output(frame);
        else frame.close();
      },
      error: (error) => {
        if (this.decoder === decoder) this.fail(error.message);
      },
    });
    this.decoder = decoder;
    try {
      decoder.configure({ codec: this.codec, optimizeForLatency: true });
    } catch (error) {
      this.decoder = null;
      this.host.broken(`the browser refuses ${this.codec}: ${String(error)}`, true);
    }
  }

  private output(frame: VideoFrame): void {
    const mediaUs = frame.timestamp;
    const sent = this.underway.find(mediaUs);
    const given = this.given.get(mediaUs);
    if (given !== undefined) {
      this.spent.add(this.now() - given);
      this.given.delete(mediaUs);
    }
    if (!sent) {
      // Nothing with this time was given to the decoder: its key is not known, and it is not shown under another.
      frame.close();
      this.counts.failures += 1;
      return;
    }
    this.decoded.push({ key: sent.key, picture: frame, capture: sent.capture });
    // A burst that is late: only its last picture will be shown.
    while (this.decoded.length > 2 * DECODED) {
      this.decoded.shift()?.picture.close();
      this.counts.passed += 1;
    }
    this.host.ready();
  }

  private fail(why: string): void {
    this.counts.failures += 1;
    this.end();
    this.needsKey = true;
    if (this.counts.failures % 5 === 0) this.host.broken(`the decoder failed: ${why}`, this.counts.failures >= 15);
  }

  private end(): void {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.given.clear();
  }

  private clear(): void {
    for (const ready of this.decoded) ready.picture.close();
    this.decoded = [];
  }
}
