// Pictures out of a playing <video>, each with the media time that the decoder gave it.
//
// The callback's `mediaTime` is off by a frame now and then at 60 fps; the time stamp of `new VideoFrame(video)` is that of
// the very picture (docs/design/overlay.md has the numbers).

export class VideoFrames {
  private callback: number | null = null;
  private last: number | null = null;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly ready: () => void,
  ) {
    this.ask();
  }

  /** The picture that the element shows now; null when it is the one taken last, or there is none. */
  take(): VideoFrame | null {
    if (this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    let frame: VideoFrame;
    try {
      frame = new VideoFrame(this.video);
    } catch {
      // No picture was decoded yet, which the element's state does not tell.
      return null;
    }
    if (frame.timestamp === this.last) {
      frame.close();
      return null;
    }
    this.last = frame.timestamp;
    return frame;
  }

  close(): void {
    if (this.callback !== null) this.video.cancelVideoFrameCallback(this.callback);
    this.callback = null;
  }

  private ask(): void {
    this.callback = this.video.requestVideoFrameCallback(() => {
      this.ask();
      this.ready();
    });
  }
}
