//! Key and certificate of the web server: an own pair by file, or a self-signed one made at first start.
//!
//! Browsers ask once whether to trust the self-signed certificate, and remember it: it is therefore kept even
//! when the box gets another name or address. Removing the `tls` folder makes a new one.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::auth::write_new;

/// What TLS is made of.
#[derive(Debug)]
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// The configured pair, or the one in `data_dir/tls`, made now if there is none.
pub(super) fn pair(own: Option<&(PathBuf, PathBuf)>, data_dir: &Path) -> anyhow::Result<Pair> {
    if let Some((certificate, key)) = own {
        return Ok(Pair {
            certificate: certificate.clone(),
            key: key.clone(),
        });
    }
    let folder = data_dir.join("tls");
    let pair = Pair {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    // The certificate is written last, so a pair that is there is whole.
    if !pair.certificate.exists() {
        if pair.key.exists() {
            std::fs::remove_file(&pair.key)
                .with_context(|| format!("cannot replace {}", pair.key.display()))?;
        }
        let names = names(&host_name(), &addresses());
        let (certificate, key) = self_signed(names.clone())?;
        write_new(&pair.key, &key).with_context(|| format!("cannot write {}", pair.key.display()))?;
        write_new(&pair.certificate, &certificate)
            .with_context(|| format!("cannot write {}", pair.certificate.display()))?;
        log::info!("web: made a self-signed certificate for {}", names.join(", "));
    }
    Ok(pair)
}

/// PEM files of the box's certificate and its key, for another server of the box.
pub(crate) fn certificate(
    own: Option<&(PathBuf, PathBuf)>,
    data_dir: &Path,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let pair = pair(own, data_dir)?;
    Ok((pair.certificate, pair.key))
}

/// Configures rustls: TLS 1.2 and 1.3 by ring, the program's only crypto provider.
pub(super) fn config(pair: &Pair) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", pair.certificate.display()))?;
    ensure!(
        !chain.is_empty(),
        "{} holds no certificate: a PEM file is wanted",
        pair.certificate.display()
    );
    let key = PrivateKeyDer::from_pem_file(&pair.key)
        .with_context(|| format!("cannot read the key {}: a PEM file is wanted", pair.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| {
            format!(
                "{} and {} do not belong together",
                pair.certificate.display(),
                pair.key.display()
            )
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Certificate and key as PEM.
fn self_signed(names: Vec<String>) -> anyhow::Result<(String, String)> {
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Synoptic");
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    // Fixed dates: at its first start a box without a battery does not know what day it is.
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2055, 1, 1);
    let key = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// What the certificate vouches for: host name, its `.local` name (mDNS), `localhost`, addresses.
fn names(host: &str, addresses: &[IpAddr]) -> Vec<String> {
    let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let mut names = Vec::new();
    if !host.is_empty() && host.chars().all(plain) {
        let short = host.split('.').next().unwrap_or(&host);
        names.push(host.clone());
        names.push(format!("{short}.local"));
    }
    names.push("localhost".to_owned());
    names.extend(addresses.iter().map(ToString::to_string));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// Addresses of the box; those that only a link knows (fe80::/10) cannot be in a URL.
fn addresses() -> Vec<IpAddr> {
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(e) => {
            log::warn!("web: cannot list the box's addresses for its certificate: {e}");
            return Vec::new();
        }
    };
    interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_host_local_and_addresses() {
        let addresses = ["127.0.0.1".parse().unwrap(), "192.0.2.4".parse().unwrap()];
        assert_eq!(
            names("Box.example.org\n", &addresses),
            [
                "box.example.org",
                "box.local",
                "localhost",
                "127.0.0.1",
                "192.0.2.4"
            ]
        );
        assert_eq!(names("", &[]), ["localhost"]);
    }

    #[test]
    fn a_pair_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = pair(None, dir.path()).unwrap();
        config(&first).unwrap();
        let text = std::fs::read(&first.certificate).unwrap();
        let again = pair(None, dir.path()).unwrap();
        assert_eq!(std::fs::read(&again.certificate).unwrap(), text);
        let mode = std::fs::metadata(&first.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_wrong_pair_says_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.pem"), dir.path().join("b.pem"));
        std::fs::write(&a, "no certificate").unwrap();
        let error = config(&pair(Some(&(a, b)), dir.path()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("a.pem"), "{error}");
    }
}
