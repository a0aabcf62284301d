import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Player, State, Stats } from "synoptic-player";
import { bound, clockTime } from "../format";
import { labelName, locale, texts } from "../i18n";
import { watch } from "../live";
import { complain } from "../state";
import { FullScreen, Pause, Play, Snapshot } from "./icons";

/** How often what a player counts is looked at, in ms. */
const LOOK_MS = 1000;

export interface LiveProps {
  /** Id of the camera or panorama. */
  stream: string;
  kind: "camera" | "panorama";
  name: string;
  /** Whether there is anything to show at all. */
  runs: boolean;
  /** Whether the picture is an old one. */
  dim: boolean;
  /** Width by height, as CSS writes it; that of cameras where not given. */
  shape?: string;
  /** What stands where no picture is; `no picture` where not given. */
  nothing?: string;
  onStats?: (stats: Stats | null) => void;
  /** What is drawn over the picture. */
  children?: ComponentChildren;
}

const nobody = () => {};

/** A live picture with its boxes, and what can be done with it. */
export function Live(props: LiveProps) {
  const { stream, kind, name, runs, dim, shape, nothing, onStats = nobody, children } = props;
  const t = texts.value;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const player = useRef<Player | null>(null);
  const [state, setState] = useState<State>("connecting");
  const [shows, setShows] = useState(false);
  const [paused, setPaused] = useState(false);
  useEffect(() => {
    setShows(false);
    if (!canvas.current || !runs) return;
    setPaused(false);
    const { player: made, end } = watch(stream, canvas.current, {
      kind,
      name: labelName,
      captureTime: (capture) =>
        `${clockTime(new Date(capture.utcMs).toISOString(), locale())} ${bound(capture.errorMs)}`,
      onState: setState,
      onPainted: (view) => {
        setShows(true);
        // Which picture stands there: for tests, and for who looks with the browser's tools.
        if (frame.current) frame.current.dataset.key = `${view.key.stream}/${view.key.epoch}/${view.key.mediaUs}`;
      },
      onProblem: (why) => console.info(`${stream}: ${why}`),
    });
    player.current = made;
    const look = setInterval(() => onStats(made.stats()), LOOK_MS);
    return () => {
      clearInterval(look);
      onStats(null);
      player.current = null;
      end();
    };
  }, [stream, kind, runs, onStats]);
  const troubled = state === "reconnecting" || state === "waiting" || state === "failed" || state === "paused";
  return (
    <div
      class={dim && !paused ? "picture dim" : "picture"}
      style={shape ? { aspectRatio: shape } : undefined}
      ref={frame}
    >
      <canvas ref={canvas} width="640" height="360" role="img" aria-label={t.livePicture(name)} />
      {shows && children}
      {!shows && <p class="nothing">{nothing ?? t.noPicture}</p>}
      {shows && troubled && <p class="play-state">{t.playState[state] ?? state}</p>}
      {shows && (
        <div class="play-tools">
          <button
            type="button"
            aria-label={paused ? t.play : t.pause}
            title={paused ? t.play : t.pause}
            onClick={() => {
              if (paused) player.current?.resume();
              else player.current?.pause();
              setPaused(!paused);
            }}
          >
            {paused ? <Play /> : <Pause />}
          </button>
          <button
            type="button"
            aria-label={t.snapshot}
            title={t.snapshot}
            onClick={() => {
              if (player.current) save(player.current, stream).catch(complain);
            }}
          >
            <Snapshot />
          </button>
          <button
            type="button"
            aria-label={t.fullScreen}
            title={t.fullScreen}
            onClick={() => {
              const change = document.fullscreenElement
                ? document.exitFullscreen()
                : frame.current?.requestFullscreen();
              change?.catch(complain);
            }}
          >
            <FullScreen />
          </button>
        </div>
      )}
    </div>
  );
}

/** Gives the picture that is shown, with its boxes, to the user as a file named by its key. */
async function save(player: Player, stream: string): Promise<void> {
  const key = player.shown?.key;
  const url = URL.createObjectURL(await player.snapshot());
  const link = document.createElement("a");
  link.href = url;
  link.download = `${stream}-${key?.epoch ?? 0}-${key?.mediaUs ?? 0}.png`;
  link.click();
  // The browser has taken it by the next turn.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
