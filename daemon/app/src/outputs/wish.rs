//! What is wanted of an output.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use synoptic_base::{Size, Span, StreamId};
use synoptic_media::coded::{Relay, Want};
use synoptic_media::encode::{EncodeOptions, EncoderKind, FrameRate};
use synoptic_media::output::{HeaderTimes, PushKind, PushOptions, Reading};
use url::{Host, Url};

use crate::config::split_credentials;

/// Pictures a second of a stream that does not say.
const NOMINAL_FPS: f64 = 25.0;
/// Port of `rtsp://` without one (RFC 2326 section 3.2).
const RTSP_PORT: u16 = 554;

/// An output that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputWish {
    /// Its id.
    pub id: StreamId,
    /// The camera or panorama that is shown.
    pub stream: StreamId,
    /// Where it goes.
    pub target: OutputTarget,
    /// How it is coded where it is coded anew.
    pub options: OutputOptions,
    /// Whether the sound goes with it, where the stream has one.
    pub audio: bool,
    /// How the headers of RTP packets of what is served tell capture times.
    pub header_times: HeaderTimes,
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTarget {
    /// Pushed to a server.
    Push(PushOptions),
    /// Served by the box's RTSP server.
    Serve {
        /// The path of its address, without the first `/`.
        path: String,
    },
}

impl OutputTarget {
    /// The target of an address: pushed there, user and password taken out of it. What is an address of the box's own RTSP
    /// server becomes served when it is started ([`super::Desk::start`]).
    ///
    /// # Errors
    /// When it is no address that can be pushed to, in words that show no password.
    pub fn from_url(url: &str) -> Result<OutputTarget, String> {
        let parts = split_credentials(url.trim()).map_err(|e| e.to_string())?;
        let mut push = PushOptions::new(&parts.url)?;
        push.user = parts.user;
        push.password = parts.password;
        Ok(OutputTarget::Push(push))
    }

    /// The same, served where the address is that of the RTSP server on `listen`.
    pub(super) fn on_this_box(self, listen: SocketAddr) -> OutputTarget {
        match self {
            OutputTarget::Push(push) => match own_path(&push, listen) {
                Some(path) => OutputTarget::Serve { path },
                None => OutputTarget::Push(push),
            },
            served @ OutputTarget::Serve { .. } => served,
        }
    }
}

/// The path within the RTSP server on `listen` that an address names.
fn own_path(push: &PushOptions, listen: SocketAddr) -> Option<String> {
    if push.kind() != PushKind::Rtsp || push.tls() {
        return None;
    }
    let url = Url::parse(&push.url).ok()?;
    if url.port().unwrap_or(RTSP_PORT) != listen.port() {
        return None;
    }
    let ip = match url.host()? {
        Host::Domain(name) => match name.eq_ignore_ascii_case("localhost") {
            true => return path_of(&url),
            // `rtsp:` is no special scheme: addresses come as names.
            false => name.parse::<IpAddr>().ok()?,
        },
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip),
    };
    // A socket can be bound to addresses of this machine only.
    let ours = || UdpSocket::bind((ip, 0)).is_ok();
    let listens = ip == listen.ip() || (listen.ip().is_unspecified() || ip.is_loopback()) && ours();
    listens.then(|| path_of(&url)).flatten()
}

fn path_of(url: &Url) -> Option<String> {
    let path = url.path().trim_matches('/');
    (!path.is_empty()).then(|| path.to_owned())
}

/// Whether pictures are coded anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transcode {
    /// Where they must be.
    #[default]
    Auto,
    /// Always.
    Always,
}

/// How pictures are coded that are coded anew. `None`: as the box does it for everyone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputOptions {
    /// Whether they are.
    pub transcode: Transcode,
    /// Bit rate in kbit/s.
    pub bitrate_kbit: Option<u32>,
    /// From one IDR picture to the next.
    pub gop: Option<Span>,
    /// Size in pixels.
    pub size: Option<Size>,
    /// Pictures a second.
    pub fps: Option<FrameRate>,
    /// What codes.
    pub encoder: Option<EncoderKind>,
}

impl OutputOptions {
    /// Whether anything differs from what the box does for everyone.
    fn are_own(&self) -> bool {
        let usual = OutputOptions {
            transcode: self.transcode,
            ..OutputOptions::default()
        };
        *self != usual
    }

    /// For the encoder; `fps`: pictures a second of the stream, if it says so.
    pub fn encode(&self, fps: Option<f64>) -> EncodeOptions {
        let usual = EncodeOptions::default();
        let stream = fps.filter(|fps| *fps > 0.0).unwrap_or(NOMINAL_FPS);
        let fps = self.fps.map_or(stream, |rate| rate.of(stream));
        let gop = |gop: Span| (gop.as_secs_f64() * fps).round().clamp(1.0, 10_000.0) as u32;
        EncodeOptions {
            bitrate_kbit: self.bitrate_kbit.unwrap_or(usual.bitrate_kbit),
            gop: self.gop.map_or(usual.gop, gop),
            size: self.size,
            fps: self.fps,
            encoder: self.encoder,
        }
    }
}

impl OutputWish {
    /// Whether the pictures are coded with this output's own options: by what is known of the stream now.
    pub(super) fn codes(&self, relay: &Relay) -> bool {
        let transcoded = || relay.stream(self.stream).transcoded().is_some();
        // A camera's own pictures have the camera's own rhythm.
        let constant = matches!(self.options.fps, Some(FrameRate::Constant(_)));
        self.options.transcode == Transcode::Always || constant || self.options.are_own() && transcoded()
    }

    /// What is read for it.
    pub(super) fn reading(&self, relay: &Relay) -> Reading {
        let stream = relay.stream(self.stream);
        if !self.codes(relay) {
            let reading = Reading::plain(stream).with_sound(self.audio);
            return reading.with_header_times(self.header_times);
        }
        let fps = stream.format(Want::Native).and_then(|f| f.fps);
        let reading = Reading::coded(&stream, self.options.encode(fps)).with_sound(self.audio);
        reading.with_header_times(self.header_times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_own_server_is_served_and_any_other_pushed() {
        let listen: SocketAddr = "127.0.0.1:8554".parse().unwrap();
        let target = |url: &str, listen| OutputTarget::from_url(url).unwrap().on_this_box(listen);
        for url in ["rtsp://localhost:8554/live", "rtsp://127.0.0.1:8554/live/"] {
            let path = "live".to_owned();
            assert_eq!(target(url, listen), OutputTarget::Serve { path }, "{url}");
        }
        for url in [
            "rtsp://localhost:8555/live",
            "rtsp://192.0.2.1:8554/live",
            "rtsp://media.example:8554/live",
            "rtsps://localhost:8554/live",
            "rtmp://localhost:8554/live/x",
        ] {
            assert!(matches!(target(url, listen), OutputTarget::Push(_)), "{url}");
        }
        let everywhere = "0.0.0.0:8554".parse().unwrap();
        let served = target("rtsp://127.0.0.1:8554/live", everywhere);
        assert!(matches!(served, OutputTarget::Serve { .. }));
    }

    #[test]
    fn user_and_password_leave_the_address() {
        let OutputTarget::Push(push) = OutputTarget::from_url("rtsp://me:hunter2@h:8554/x").unwrap() else {
            panic!("not pushed");
        };
        assert_eq!(push.url, "rtsp://h:8554/x");
        assert_eq!(push.user.as_deref(), Some("me"));
        assert!(!format!("{push:?}").contains("hunter2"));
        let error = OutputTarget::from_url("http://me:hunter2@h/x").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
