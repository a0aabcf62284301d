//! `[web.webrtc]` as it is written; as `raw`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::RawSecret;

/// Live video by WebRTC (WHEP). Without servers it works where viewers and box see each other's addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWebRtc {
    /// STUN server, which tells each side its address outside: `stun:HOST` or `stun:HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stun: Option<String>,
    /// TURN server, which relays where nothing else goes through: `turn:HOST:PORT`, `turns:HOST:PORT`, with
    /// `?transport=tcp` by TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// User of the TURN server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password of the TURN server, by reference. Viewers who are signed in are told it: they need it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
}
