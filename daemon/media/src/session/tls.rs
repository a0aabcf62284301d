//! RTSP over TLS: what is asked of a camera's certificate, and what is said when it falls short.

use std::path::Path;
use std::sync::Arc;

use gio::prelude::*;
use gio::{TlsCertificateFlags, TlsFileDatabase};

use super::Shared;
use crate::MediaError;

/// What may be wrong with a certificate (GTlsCertificateFlags), in words, and how to mend it.
const FAULTS: [(TlsCertificateFlags, &str); 6] = [
    (
        TlsCertificateFlags::UNKNOWN_CA,
        "no authority that this box trusts signed it; set `tls_ca` to a file with the camera's certificate",
    ),
    (
        TlsCertificateFlags::BAD_IDENTITY,
        "it is for another address; connect to the address that the certificate names",
    ),
    (
        TlsCertificateFlags::EXPIRED,
        "it has expired; renew it on the camera, and check this box's clock",
    ),
    (
        TlsCertificateFlags::NOT_ACTIVATED,
        "it is not valid yet; check the clocks of the camera and of this box",
    ),
    (
        TlsCertificateFlags::REVOKED,
        "it has been revoked; renew it on the camera",
    ),
    (
        TlsCertificateFlags::INSECURE,
        "its algorithm is not safe any more; renew it on the camera",
    ),
];

/// Makes an `rtspsrc` check the certificate against `ca` or the system's authorities. One that falls short ends the
/// session with the reason, or, where the configuration accepts any, is a warning.
pub(super) fn check(
    source: &gst::Element,
    name: &str,
    ca: Option<&Path>,
    insecure: bool,
    shared: &Arc<Shared>,
) -> Result<(), MediaError> {
    if let Some(path) = ca {
        let trusted = TlsFileDatabase::new(path).map_err(|error| MediaError::Certificate {
            source_name: name.to_owned(),
            why: format!("`tls_ca` {} cannot be used: {error}", path.display()),
        })?;
        source.set_property("tls-database", trusted);
    }
    let (name, shared) = (name.to_owned(), shared.clone());
    source.connect("accept-certificate", false, move |args| {
        let faults = args
            .get(3)
            .and_then(|v| v.get::<TlsCertificateFlags>().ok())
            .unwrap_or(TlsCertificateFlags::GENERIC_ERROR);
        let why = describe(faults);
        if insecure {
            log::warn!("{name}: its certificate is accepted as `tls_insecure` wants, although {why}");
        } else {
            shared.fail(MediaError::Certificate {
                source_name: name.clone(),
                why: format!("its certificate is refused: {why}"),
            });
        }
        Some(insecure.to_value())
    });
    Ok(())
}

fn describe(faults: TlsCertificateFlags) -> String {
    let named: Vec<&str> = FAULTS
        .iter()
        .filter(|(fault, _)| faults.contains(*fault))
        .map(|(_, words)| *words)
        .collect();
    if named.is_empty() {
        // Also what a signature that does not fit is called.
        return "the authorities that this box trusts do not vouch for it; is it still the one in `tls_ca`?"
            .to_owned();
    }
    named.join("; and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named() {
        let both = TlsCertificateFlags::UNKNOWN_CA | TlsCertificateFlags::EXPIRED;
        let text = describe(both);
        assert!(text.contains("tls_ca") && text.contains("expired"), "{text}");
        assert!(describe(TlsCertificateFlags::GENERIC_ERROR).contains("vouch"));
    }
}
