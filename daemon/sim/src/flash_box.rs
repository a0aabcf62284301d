//! A box that takes in a camera of flashes and beeps, with its sound, and what leaves it: as files, and where they are apart
//! when ffmpeg decodes them.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crossbeam_channel::unbounded;
use synoptic_base::{Clock, Epoch, Mono, Rotation, Span, StreamId};
use synoptic_media::coded::{CodedEvent, CodedStream, Relay, SoundWant, Subscription, Want};
use synoptic_media::mux::flv::FlvWriter;
use synoptic_media::mux::hls::{File, Found, Hls};
use synoptic_media::output::{Reading, RtspServer};
use synoptic_media::{Camera, CameraContext, CameraOptions, Epochs, FrameQueue, RtspTransport, Source};

use crate::flash::{FlashCamera, FlashError, FlashOptions};

/// Far longer than anything here takes, for a machine that is busy.
const PATIENCE: Span = Span::from_secs(60);
/// Flashes before both streams of the camera have reports, and the recording's first part.
const SETTLING: Span = Span::from_secs(2);

fn failed(why: impl std::fmt::Display) -> FlashError {
    FlashError::new(why)
}

struct First;
impl Epochs for First {
    fn next_epoch(&self, _: StreamId) -> Result<Epoch, String> {
        Ok(Epoch(1))
    }
}

/// The box, and the camera before it.
pub struct FlashBox {
    clock: Arc<dyn Clock>,
    stream: Arc<CodedStream>,
    _camera: Camera,
    _sim: FlashCamera,
    _notes: crossbeam_channel::Receiver<synoptic_media::CameraNote>,
}

impl FlashBox {
    /// Starts both, and waits until picture and sound have come for a few seconds.
    pub fn start(options: &FlashOptions, clock: &Arc<dyn Clock>) -> Result<FlashBox, FlashError> {
        let sim = FlashCamera::start(options, clock.clone())?;
        let id = StreamId::new("flash").map_err(failed)?;
        let relay = Relay::new(clock.clone());
        let stream = relay.stream(id);
        stream.take_sound(true);
        let (sender, notes) = unbounded();
        let context = CameraContext {
            clock: clock.clone(),
            epochs: Arc::new(First),
            frames: FrameQueue::new(4),
            notes: sender,
        };
        let options = CameraOptions {
            id,
            source: Source::Rtsp {
                url: sim.url(),
                sub_url: None,
                transport: RtspTransport::Tcp,
                user: None,
                password: None,
                tls_insecure: false,
                tls_ca: None,
            },
            rotation: Rotation::None,
            stall_after: Span::from_secs(10),
            capture_bias: Span::ZERO,
            capture_bias_error: Span::from_millis(10),
        };
        let camera = Camera::start_relayed(options, context, stream.clone()).map_err(failed)?;
        let this = FlashBox {
            clock: clock.clone(),
            stream,
            _camera: camera,
            _sim: sim,
            _notes: notes,
        };
        let mut reader = this
            .stream
            .subscribe_with(Want::Playable, Some(SoundWant::Native));
        let (mut first, mut heard) = (None, false);
        this.read(&mut reader, |event| {
            if let CodedEvent::Sound(_) = event {
                heard = true;
            }
            let CodedEvent::Frame(frame) = event else {
                return false;
            };
            let first = *first.get_or_insert(frame.captured.mono);
            heard && frame.captured.mono - first > SETTLING
        })?;
        Ok(this)
    }

    /// What it sends.
    pub fn stream(&self) -> &Arc<CodedStream> {
        &self.stream
    }

    /// Serves it at the address that is returned, while the server lives.
    pub fn serve(&self) -> Result<(RtspServer, String), FlashError> {
        let server = RtspServer::start(([127, 0, 0, 1], 0).into(), None, None).map_err(failed)?;
        let stream = self.stream.clone();
        let reading = Arc::new(move || Reading::plain(stream.clone()).with_sound(true));
        server.mount("av", reading).map_err(failed)?;
        let url = format!("rtsp://{}/av", server.address());
        Ok((server, url))
    }

    fn read(
        &self,
        reader: &mut Subscription,
        mut enough: impl FnMut(&CodedEvent) -> bool,
    ) -> Result<(), FlashError> {
        let give_up = self.clock.now() + PATIENCE;
        while self.clock.now() < give_up {
            match reader.next_timeout(Span::from_millis(100)) {
                Some(Ok(event)) if enough(&event) => return Ok(()),
                Some(Err(ended)) => return Err(failed(format!("the stream ended: {ended:?}"))),
                _ => {}
            }
        }
        Err(failed("too little came within a minute"))
    }

    /// Writes `length` of what HLS gives: the initialization segment and all parts.
    pub fn record_hls(&self, path: &Path, length: Span) -> Result<(), FlashError> {
        let mut reader = self.stream.subscribe_with(Want::Playable, Some(SoundWant::Mp4));
        let sound = self.stream.sound_format(SoundWant::Mp4);
        let mut hls = Hls::new(self.stream.gop(Want::Playable), sound);
        let (mut bytes, mut init, mut next, mut begun): (Vec<u8>, _, _, Option<Mono>) =
            (Vec::new(), None, 0, None);
        let mut latest: Option<Mono> = None;
        self.read(&mut reader, |event| {
            let new = match event {
                CodedEvent::Frame(frame) => {
                    begun.get_or_insert(frame.captured.mono);
                    latest = Some(frame.captured.mono);
                    hls.picture(frame.clone())
                }
                CodedEvent::Sound(sound) => hls.sound(sound.clone()),
                _ => false,
            };
            // Parts come with the sound that they waited for, too.
            let playlist = new.then(|| hls.playlist()).flatten().unwrap_or_default();
            for file in playlist.split(['"', '\n']).filter_map(File::named) {
                match (file, hls.file(file)) {
                    // Where the sound is coded it begins a little later, and the file with it.
                    (File::Init(number), Found::There(pieces)) if init.is_none_or(|known| number > known) => {
                        init = Some(number);
                        bytes = pieces.concat();
                        begun = None;
                    }
                    (File::Part(number), Found::There(pieces)) if number >= next => {
                        next = number + 1;
                        bytes.extend(pieces.concat());
                    }
                    _ => {}
                }
            }
            begun
                .zip(latest)
                .is_some_and(|(begun, latest)| latest - begun > length)
        })?;
        std::fs::write(path, bytes).map_err(failed)
    }

    /// Writes `length` of what HTTP-FLV gives.
    pub fn record_flv(&self, path: &Path, length: Span) -> Result<(), FlashError> {
        let mut reader = self.stream.subscribe_with(Want::Playable, Some(SoundWant::Flv));
        let mut writer = FlvWriter::new(self.stream.has_sound());
        let (mut bytes, mut begun): (Vec<u8>, Option<Mono>) = (Vec::new(), None);
        self.read(&mut reader, |event| match event {
            CodedEvent::Frame(frame) => {
                bytes.extend(writer.picture(frame));
                frame.captured.mono - *begun.get_or_insert(frame.captured.mono) > length
            }
            CodedEvent::Sound(sound) => {
                bytes.extend(writer.sound(sound));
                false
            }
            _ => false,
        })?;
        std::fs::write(path, bytes).map_err(failed)
    }
}

/// Sound minus picture of each flash in a file, by ffmpeg: when black ends, and when silence does.
pub fn offsets_by_ffmpeg(path: &Path) -> Result<Vec<Span>, FlashError> {
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-nostats", "-copyts", "-i"])
        .arg(path)
        .args([
            "-vf",
            "blackdetect=d=0.2:pix_th=0.4",
            "-af",
            "silencedetect=n=-22dB:d=0.2",
            "-f",
            "null",
            "-",
        ])
        .output()
        .map_err(|e| failed(format!("ffmpeg: {e}")))?;
    let text = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        return Err(failed(format!("ffmpeg: {text}")));
    }
    let all = |word: &str| -> Vec<f64> {
        text.split(['\n', '\r'])
            .filter_map(|line| line.split_once(word))
            .filter_map(|(_, rest)| rest.split([' ', '|']).find(|w| !w.is_empty())?.parse().ok())
            .collect()
    };
    let (mut flashes, beeps) = (all("black_end:"), all("silence_end:"));
    // The end of the file is none, and ends both.
    flashes.pop();
    let near = |flash: &f64| {
        let offset = beeps
            .iter()
            .map(|beep| beep - flash)
            .min_by(|a, b| a.abs().total_cmp(&b.abs()))?;
        (offset.abs() < 0.5).then(|| Span::from_secs_f64(offset))
    };
    Ok(flashes.iter().filter_map(near).collect())
}
