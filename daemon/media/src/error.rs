//! What can go wrong with a camera, in words for the person who has to mend it.

use synoptic_base::Span;

/// Why a session with a camera ended or could not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The camera refuses the user or password.
    #[error("{source_name} refuses the user or password; set `user` and `password` of this camera")]
    Auth {
        /// The source, without password.
        source_name: String,
    },
    /// The camera's certificate is not trusted, or what it is to be checked with cannot be read.
    #[error("{source_name} is not trusted: {why}")]
    Certificate {
        /// The source, without password.
        source_name: String,
        /// What is wrong and how to mend it.
        why: String,
    },
    /// There is nothing there, or it does not answer.
    #[error("cannot reach {source_name}: {why}")]
    Unreachable {
        /// The source, without password.
        source_name: String,
        /// What the network or the file system said.
        why: String,
    },
    /// It answers, but sends no video that can be decoded.
    #[error("{source_name} gives no usable video: {why}")]
    NoVideo {
        /// The source, without password.
        source_name: String,
        /// What was found instead.
        why: String,
    },
    /// Frames stopped, or never began.
    #[error("no frame from {source_name} for {after}; connecting anew")]
    Stalled {
        /// The source, without password.
        source_name: String,
        /// How long nothing came.
        after: Span,
    },
    /// The stream broke off.
    #[error("{source_name} broke off: {why}")]
    Broken {
        /// The source, without password.
        source_name: String,
        /// What GStreamer or the driver said.
        why: String,
    },
    /// The box lacks something.
    #[error("this box lacks {what}; install {package}")]
    Missing {
        /// The GStreamer element or library.
        what: String,
        /// The Debian package that has it.
        package: &'static str,
    },
}
