//! A source on the command line, the same for every command that takes one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use synoptic_media::{RtspTransport, Secret, Source};

use crate::config;

#[derive(clap::Args)]
pub(super) struct SourceArgs {
    /// `rtsp://…`, `rtsps://…`, /dev/videoN or a video file.
    source: String,
    /// Receive RTP over UDP.
    #[arg(long)]
    udp: bool,
    /// User, if the camera wants one.
    #[arg(long)]
    user: Option<String>,
    /// File with the password: arguments are visible to every process of the box.
    #[arg(long, requires = "user")]
    password_file: Option<PathBuf>,
    /// Accept any certificate of an `rtsps://` camera.
    #[arg(long)]
    tls_insecure: bool,
    /// PEM file of the authorities that may have signed the certificate, or of the certificate itself.
    #[arg(long, conflicts_with = "tls_insecure")]
    tls_ca: Option<PathBuf>,
}

impl SourceArgs {
    /// The source that the arguments say.
    pub(super) fn source(&self) -> Result<Source> {
        let login = self
            .source
            .contains("://")
            .then(|| config::split_credentials(&self.source))
            .transpose()?;
        let address = login.as_ref().map_or(self.source.as_str(), |l| l.url.as_str());
        let mut source = config::parse_source(address, Path::new("."))?;
        if let Source::Rtsp {
            transport,
            user,
            password,
            tls_insecure,
            tls_ca,
            ..
        } = &mut source
        {
            if self.udp {
                *transport = RtspTransport::Udp;
            }
            *tls_insecure = self.tls_insecure;
            tls_ca.clone_from(&self.tls_ca);
            *user = self.user.clone().or_else(|| login.as_ref()?.user.clone());
            *password = match &self.password_file {
                Some(path) => {
                    let text = std::fs::read_to_string(path)
                        .with_context(|| format!("reading the password from {}", path.display()))?;
                    Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
                }
                None => login.and_then(|l| l.password),
            };
        }
        Ok(source)
    }
}
