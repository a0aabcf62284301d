//! Live pictures to browsers by WebRTC: what stands behind the WHEP routes of the web server
//! (draft-ietf-wish-whep; the other way round of RFC 9725).
//!
//! Terms: a **session** is one viewer with a peer connection of its own, from his offer to its end. An **offer** and an
//! **answer** are SDP (RFC 8866). All candidates of ours are in the answer: there is no trickle.
//!
//! A session reads the relay like any other viewer: nothing is coded for it alone, and without one nothing is coded. It shows
//! one epoch of a stream and ends with it, as HTTP-FLV does: a new epoch counts media time anew.
//!
//! The RTP time of a picture is its media time ([`rtp_time`]), so that a browser's `rtpTimestamp` is the key of the picture.
//!
//! What is full, and what happens then:
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | bytes that wait for the network | 4 MiB | pictures are left out up to the next IDR |
//! | the time to connect | 20 s | the session ends |
//! | silence of the viewer (no receiver report) | 15 s | the session ends |
//! | what the viewer's line takes | `synoptic_engine::pacing::ViewerRate` | IDR pictures alone, until it is well again |
//! | IDR pictures that viewers ask for (PLI, FIR) | one a second | who asks again gets the same one |
//!
//! Sound is the camera's own Opus, or what the box makes of its sound, by the one coder that all such viewers share. It leaves
//! with the pictures of its instant (`coded::sound_line`); its RTP time is its media time in ticks of 48 kHz.

mod offer;
mod peer;
mod rtcp;
mod session;
mod times;

pub use session::{Session, ViewerStatus};
pub use times::rtp_time;

use synoptic_base::{Span, StreamId};

use crate::Secret;

/// The servers that help two peers find a way to each other. None is needed where they see each other's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceServers {
    /// STUN: `stun:HOST[:PORT]` (RFC 7064).
    pub stun: Option<String>,
    /// TURN, which relays where nothing else goes through.
    pub turn: Option<TurnServer>,
}

/// A TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnServer {
    /// `turn:HOST[:PORT][?transport=udp|tcp]`, or `turns:` (RFC 7065).
    pub url: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebRtcError {
    /// The offer cannot be read, or lacks what every offer has.
    #[error("the offer makes no sense: {0}")]
    Offer(String),
    /// What is offered cannot be sent.
    #[error("the offer cannot be answered: {0}")]
    Unable(String),
    /// There is nothing to send.
    #[error("`{stream}` cannot be watched now: {why}")]
    NoPicture {
        /// What was asked for.
        stream: StreamId,
        /// Why there is none.
        why: String,
    },
    /// GStreamer lacks a part.
    #[error("this box has no GStreamer element `{element}`; install {package}")]
    Missing {
        /// The element.
        element: &'static str,
        /// Where it is.
        package: &'static str,
    },
    /// GStreamer did not do its part.
    #[error("WebRTC of `{stream}` did not begin: {why}")]
    Broken {
        /// What was asked for.
        stream: StreamId,
        /// Why.
        why: String,
    },
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// The viewer ended it, or the box stops.
    #[error("it was ended")]
    Asked,
    /// No way to the viewer was found.
    #[error(
        "no connection within {0}: is UDP let through? outside of the box's own network `web.webrtc` needs a TURN server"
    )]
    NeverConnected(Span),
    /// The connection broke down, or was closed.
    #[error("the connection was closed or lost")]
    Lost,
    /// Nothing is heard of the viewer any more.
    #[error("the viewer is gone: nothing was heard for {0}")]
    Silent(Span),
    /// Media time begins anew.
    #[error("another epoch of the stream began")]
    Epoch,
    /// The stream was removed.
    #[error("the stream was removed")]
    Removed,
    /// The box could not keep up with it.
    #[error("it was too slow for 10 s")]
    TooSlow,
    /// GStreamer failed.
    #[error("it failed: {0}")]
    Broken(String),
}

#[cfg(test)]
mod tests;
