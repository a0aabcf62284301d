//! What GStreamer says went wrong, in words for the person who has to mend it.

use gst::prelude::*;

use super::Session;
use crate::MediaError;

impl Session {
    /// The first error on the bus, as the person who mends it should read it.
    pub(super) fn bus_error(&self) -> Option<MediaError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else {
            return None;
        };
        let source_name = self.source_name.clone();
        let glib_error = error.error();
        let why = glib_error.message().trim_end_matches('.').to_owned();
        let detail = error.debug().map(|d| d.to_string()).unwrap_or_default();
        log::debug!("{source_name}: {why}: {detail}");
        if let Some(kind) = glib_error.kind::<gst::ResourceError>() {
            return Some(match kind {
                gst::ResourceError::NotAuthorized => MediaError::Auth { source_name },
                _ if detail.contains("Unauthorized") || detail.contains("(401)") => {
                    MediaError::Auth { source_name }
                }
                gst::ResourceError::NotFound if self.live => MediaError::Unreachable {
                    source_name,
                    why: "the camera knows no stream of this path".to_owned(),
                },
                gst::ResourceError::OpenRead | gst::ResourceError::OpenReadWrite if self.live => {
                    MediaError::Unreachable {
                        source_name,
                        why: format!(
                            "nothing answers there ({}); check address and port",
                            cause(&detail, &why)
                        ),
                    }
                }
                _ if self.live => MediaError::Unreachable {
                    source_name,
                    why: cause(&detail, &why),
                },
                _ => MediaError::Unreachable { source_name, why },
            });
        }
        Some(match glib_error.kind::<gst::StreamError>() {
            Some(
                gst::StreamError::TypeNotFound
                | gst::StreamError::WrongType
                | gst::StreamError::CodecNotFound
                | gst::StreamError::Demux
                | gst::StreamError::Format,
            ) => {
                // rtspsrc's own words, when every stream was declined, speak of transport protocols.
                let none = self.live && why.starts_with("No supported stream");
                let plain = "the camera offers no video stream at this address".to_owned();
                MediaError::NoVideo {
                    source_name,
                    why: if none { plain } else { why },
                }
            }
            _ => MediaError::Broken { source_name, why },
        })
    }
}

/// The last line of GStreamer's debug text, which names the cause where the message does not.
fn cause(detail: &str, message: &str) -> String {
    let last = detail.lines().last().unwrap_or(message);
    let last = last
        .split_once(": ")
        .filter(|(place, _)| place.contains("():"))
        .map_or(last, |(_, text)| text);
    last.trim_end_matches('.').to_owned()
}
