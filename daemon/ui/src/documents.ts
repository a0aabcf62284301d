// The documents of the API, as daemon/app/src/documents.rs defines them. What is not known is null, never absent.

export type CameraState = "connecting" | "online" | "stalled" | "offline" | "disabled" | "auth_failed";
export type DeviceState = "online" | "degraded" | "updating" | "offline";
export type SyncState = "locked" | "degraded" | "lost";
export type SlotStatus = "okay" | "dropped" | "read_error" | "broken";
export type TimeQuality = "good" | "fair" | "poor" | "none";

export interface DeviceInfo {
  schema: number;
  id: string;
  name: string;
  version: string;
  boot_id: string;
  model: string | null;
  cameras: string[];
  groups: string[];
}

export interface CameraTime {
  source: string | null;
  offset_ms: number | null;
  uncertainty_ms: number | null;
  drift_ppm: number | null;
  sr_age_s: number | null;
  quality: TimeQuality;
  doctor: DoctorDoc | null;
}

/** What the clock doctor says of a camera. */
export interface DoctorDoc {
  grade: string | null;
  report_spread_ms: number | null;
  reports: number;
  late_reports: number;
  bad_reports: number;
  wall_steps: number;
  last_step: { utc: string; step_ms: number } | null;
  wrong_stamps: number;
  declared_rate_hz: number | null;
  true_rate_hz: number | null;
  delay_ms: number | null;
  delay_error_ms: number | null;
  findings: { finding: string; text: string }[];
}

export interface StreamDoc {
  codec: string;
  width: number;
  height: number;
  fps_declared: number | null;
  fps_delivered: number;
  epoch: number;
}

export interface CameraDoc {
  id: string;
  name: string;
  source: string;
  detector: string | null;
  engine: string | null;
  status: { state: CameraState; reason: string | null; since: string };
  time: CameraTime;
  stream: StreamDoc | null;
  drops: Record<string, number>;
}

export interface SyncMember {
  cam: string;
  status: SlotStatus;
  source: string | null;
  offset_ms: number | null;
  error_ms: number | null;
  phase_ms: number | null;
}

export interface SyncStatus {
  group: string;
  state: SyncState;
  spread_ms: { p50: number; p95: number; max: number } | null;
  tolerance_ms: number;
  complete_ratio: number | null;
  packets_per_s: number;
  window_s: number;
  members: SyncMember[];
}

/** A place in the pictures of two cameras, `[x, y]` in fractions of each. */
export interface ControlPointDoc {
  cameras: [string, string];
  at: [[number, number], [number, number]];
}

export type PanoramaState = "waiting" | "stopped" | "paused" | "uncalibrated" | "running" | "degraded";

export interface SeamDoc {
  cameras: [string, string];
  psnr_db: number | null;
  ssim: number | null;
  gradient_correlation: number | null;
  ghost_edge_fraction: number | null;
  delta_e00: number | null;
  skew_ms: number | null;
  skew_error_ms: number | null;
  residual_px: number | null;
  jitter_px: number | null;
}

export interface CalibrationDoc {
  version: number | null;
  created: string;
  sha256: string;
  method: string;
  projection: string;
  width: number;
  height: number;
  rms_px: number;
  cameras: { cam: string; focal_px: number; confidence: number | null }[];
  seams: { cameras: [string, string]; ties: number; rms_px: number }[];
  picture: string | null;
}

export interface CalibrationJobDoc {
  state: "collecting" | "solving" | "ready" | "accepted" | "refused";
  progress: number;
  begun: string;
  automatic: boolean;
  reason: string | null;
  result: CalibrationDoc | null;
}

export interface PanoramaDoc {
  id: string;
  name: string;
  group: string;
  method: string;
  status: {
    panorama: string;
    state: PanoramaState;
    reason: string | null;
    since: string;
    width: number | null;
    height: number | null;
    fps: number;
    latency_ms: { p50: number; p99: number } | null;
    compose_ms: { p50: number; p99: number } | null;
    window_s: number;
    calibration: number | null;
    cameras: { cam: string; slot: "live" | "held" | "empty" }[];
    seams: SeamDoc[];
  };
  lines: { points: [number, number][]; cut_cells: number }[];
  job: CalibrationJobDoc | null;
}

export type EnginePhase = "as_wanted" | "preparing" | "fallback" | "off";

export interface DetectorDoc {
  name: string;
  group: string;
  model: string;
  cameras: string[];
  engine: { wanted: string; state: EnginePhase; running: string | null; reason: string | null };
}

export interface GpuDoc {
  index: number;
  name: string;
  temperature_c: number | null;
  power_w: number | null;
  load: number | null;
  clock_mhz: number | null;
  clock_max_mhz: number | null;
  memory_used_bytes: number | null;
  memory_bytes: number | null;
  throttled: string | null;
}

/** A stream that leaves the box. */
export interface OutputDoc {
  id: string;
  stream: string;
  kind: "rtmp_push" | "rtsp_push" | "rtsp_server";
  url: string;
  configured: boolean;
  state: "waiting" | "connecting" | "running" | "retrying" | "stopped";
  reason: string | null;
  since: string | null;
  transcoded: string | null;
  sound: string | null;
  sound_transcoded: string | null;
  width: number | null;
  height: number | null;
  clients: number | null;
  pictures: number;
  bytes: number;
  left_out: number;
  failures: number;
}

export interface StatusDoc {
  device: DeviceInfo;
  status: { state: DeviceState; since: string | null };
  utc: string;
  uptime_s: number;
  clock: { synchronised: boolean; error_ms: number | null };
  cameras: CameraDoc[];
  groups: SyncStatus[];
  panoramas: PanoramaDoc[];
  detectors: DetectorDoc[];
  gpus: GpuDoc[];
  outputs: OutputDoc[];
  storage: {
    state: "okay" | "full" | "disk_short" | "failing";
    bytes: number;
    max_bytes: number;
    free_bytes: number;
    min_free_bytes: number;
    waiting: number;
    spilled: number;
    outbox: number;
    events_removed: number;
    lost: number;
    error: string | null;
  };
  restart_needed: string[];
  mqtt: { state: "off" | "connecting" | "connected"; broker: string | null; error: string | null; outbox: number };
}

export interface Capture {
  utc: string;
  error_ms: number | null;
  rel_error_ms: number;
  source: string;
}

export interface PacketSlot {
  cam: string;
  status: SlotStatus;
  frame: string | null;
  kind: string | null;
  capture: Capture | null;
  phase_ms: number | null;
}

export interface PacketLine {
  group: string;
  id: number;
  utc: string;
  spread_ms: number;
  slots: PacketSlot[];
}

/** `[x, y, w, h]` in fractions of the picture. */
export type BBox = [number, number, number, number];

/** What happened to a camera or to the box. */
export interface SystemEventDoc {
  schema: number;
  id: string;
  type:
    | "camera_online"
    | "camera_offline"
    | "time_source"
    | "camera_clock_step"
    | "box_clock_step"
    | "stitch_okay"
    | "stitch_degraded"
    | "camera_time"
    | "detector_engine"
    | "gpu_okay"
    | "gpu_throttled"
    | "restamp";
  cam: string | null;
  utc: string;
  error_ms: number | null;
  boot_id: string;
  from: string | null;
  to: string | null;
  step_ms: number | null;
  reason: string | null;
  untold: number;
}

export type AnyEventDoc = EventDoc | SystemEventDoc;

export interface EventDoc {
  type: "track";
  id: string;
  cam: string;
  track: number;
  label: string;
  score: number;
  bbox: BBox;
  detector: string;
  begin: Capture;
  restamped: Capture | null;
  end: Capture | null;
  ended_by: string | null;
  frame: string;
  picture: string | null;
}

export interface EventPage {
  events: AnyEventDoc[];
  next: string | null;
}

export interface ProbeDoc {
  source: string;
  usable: boolean;
  verdict: string;
  findings: string[];
  codec: string | null;
  width: number | null;
  height: number | null;
  fps_declared: number | null;
  fps_delivered: number | null;
  gop: number | null;
  b_frames: boolean | null;
  sender_reports: number;
  clock_offset_ms: number | null;
  time_source: string | null;
  picture_base64: string | null;
}

export interface NewCamera {
  id: string;
  name: string;
  source: string;
  user: string | null;
  password: string | null;
  transport: "tcp" | "udp" | null;
  detector: string | null;
  group: string | null;
}

export interface Choices {
  detectors: string[];
  groups: string[];
  devices: { path: string; name: string }[];
}

export interface SessionDoc {
  needed: boolean;
  set_up: boolean;
  signed_in: boolean;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  field: string | null;
  retry_after_s: number | null;
}

export type UpdatePhase =
  | "idle"
  | "checking"
  | "downloading"
  | "preflight"
  | "installing"
  | "reboot_pending"
  | "verifying"
  | "committed"
  | "rolled_back"
  | "failed";

export interface SlotDoc {
  name: string;
  bootname: string | null;
  booted: boolean;
  good: boolean | null;
  version: string | null;
}

export interface MediaFile {
  path: string;
  bytes: number;
}

export interface UpdateDoc {
  unavailable: string | null;
  version: string;
  compatible: string | null;
  slot: string | null;
  slots: SlotDoc[];
  floor: string | null;
  job: number;
  state: UpdatePhase;
  since: string | null;
  stage: string | null;
  reason: string | null;
  note: string | null;
  source: string | null;
  new_version: string | null;
  bytes: number | null;
  total_bytes: number | null;
  percent: number | null;
  rollback_reason: string | null;
  files: MediaFile[];
}

export interface Ptz {
  pan: number;
  tilt: number;
  zoom: number;
}

/** A virtual camera: `GET /api/v1/virtual-cameras`. */
export interface VirtualCameraDoc {
  id: string;
  name: string;
  stream: string;
  state: "waiting" | "stopped" | "running";
  reason: string | null;
  width: number;
  height: number;
  follow: boolean;
  now: Ptz;
  target: Ptz;
  limits: { pan: [number, number]; tilt: [number, number]; zoom: number; fov: [number, number] } | null;
  draw_ms: number | null;
}

/** What a virtual camera is configured to be: `/api/v1/virtual-cameras/{id}/settings`. */
export interface VirtualCameraSettings {
  id: string | null;
  name: string | null;
  stream: string | null;
  enabled: boolean | null;
  width: number | null;
  height: number | null;
  projection: "rectilinear" | "cylindrical" | "crop" | null;
  hfov: number | null;
  camera_hfov: number | null;
  pan: number | null;
  tilt: number | null;
  zoom: number | null;
  max_zoom: number | null;
  speed: number | null;
  acceleration: number | null;
  follow: "action" | "none" | null;
  labels: string[] | null;
}
