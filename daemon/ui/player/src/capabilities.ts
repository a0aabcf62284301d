// Which way of showing live pictures this browser has, best first.

export type Path = "webcodecs" | "mse" | "webrtc" | "flv" | "pictures";

/** What the choice is made from; the browser's own by default. */
export interface Browser {
  isSecureContext: boolean;
  VideoDecoder: unknown;
  VideoFrame: unknown;
  MediaSource: unknown;
  ManagedMediaSource: unknown;
}

/**
 * The ways that this browser has. WebCodecs wants a secure context (https, or the box itself); Media Source Extensions
 * and `new VideoFrame(video)` do not; single pictures are always there. WebRTC is for networks that the others do not get
 * through well: who wants it names it.
 */
export function paths(browser: Partial<Browser> = globalThis as unknown as Partial<Browser>): Path[] {
  const found: Path[] = [];
  if (browser.isSecureContext && browser.VideoDecoder) found.push("webcodecs");
  if ((browser.MediaSource || browser.ManagedMediaSource) && browser.VideoFrame) found.push("mse");
  found.push("pictures");
  return found;
}

/** Whether WebCodecs decodes this codec here. */
export async function decodes(codec: string): Promise<boolean> {
  try {
    return (await VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true })).supported === true;
  } catch {
    return false;
  }
}
