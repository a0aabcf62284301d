// Pictures out of a <video> that plays a WebRTC track, each with its RTP time, which is the name of its key.
//
// What the callback says is of the picture that was handed to the compositor, and `new VideoFrame(video)` is the one that the
// element has now: on a busy page these are not always the same. The frame's own metadata tell its RTP time where the browser
// has them; where not, a frame is taken only when its time is that of the callback.

export interface Named {
  readonly frame: VideoFrame;
  readonly rtp: number;
}

/** What newer browsers tell of a frame (W3C VideoFrame metadata registry). */
interface Metadata {
  rtpTimestamp?: number;
}

export class RtpFrames {
  /** Frames of which it cannot be said which picture they are: never shown. */
  unnamed = 0;
  private callback: number | null = null;
  private newest: Named | null = null;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly ready: (passedOver: boolean) => void,
  ) {
    this.ask();
  }

  /** The newest picture that was not taken yet; whoever takes it closes it. */
  take(): Named | null {
    const newest = this.newest;
    this.newest = null;
    return newest;
  }

  close(): void {
    if (this.callback !== null) this.video.cancelVideoFrameCallback(this.callback);
    this.callback = null;
    this.take()?.frame.close();
  }

  private ask(): void {
    this.callback = this.video.requestVideoFrameCallback((_, shown) => {
      this.ask();
      this.grab(shown);
    });
  }

  private grab(shown: VideoFrameCallbackMetadata): void {
    let frame: VideoFrame;
    try {
      frame = new VideoFrame(this.video);
    } catch {
      // No picture was decoded yet, which the element's state does not tell.
      return;
    }
    const rtp = rtpTimeOf(frame, shown);
    if (rtp === null) {
      this.unnamed += 1;
      frame.close();
      return;
    }
    const before = this.take();
    before?.frame.close();
    this.newest = { frame, rtp };
    this.ready(before !== null);
  }
}

/** The RTP time of a frame; null when it is not known for sure. */
export function rtpTimeOf(
  frame: Pick<VideoFrame, "timestamp"> & { metadata?: () => Metadata },
  shown: Pick<VideoFrameCallbackMetadata, "mediaTime" | "rtpTimestamp">,
): number | null {
  const own = frame.metadata?.().rtpTimestamp;
  if (own !== undefined) return own;
  const same = Math.abs(frame.timestamp - shown.mediaTime * 1e6) < 1;
  return same && shown.rtpTimestamp !== undefined ? shown.rtpTimestamp : null;
}
