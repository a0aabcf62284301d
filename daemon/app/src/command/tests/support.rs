//! The support bundle: all of it is there, and no secret is.

use std::collections::BTreeMap;
use std::io::Read as _;

use arc_swap::ArcSwap;
use flate2::read::GzDecoder;
use synoptic_base::{BootId, ClockMap, Span};

use super::*;
use crate::command::SupportBundle;
use crate::hub::Hub;

/// Whatever of this is found in a bundle is a leak.
const PLANTED: [&str; 7] = [
    "broker-pass-word",
    "page-given-camera-pass",
    "metrics-token-0123456789",
    "url-password",
    "stream-key-of-rtmp",
    "token-in-a-query",
    "argon-hash-of-the-page",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_tells_all_but_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("mqtt.password", "broker-pass-word\n");
    put("secrets/front.password", "page-given-camera-pass");
    put("metrics.token", "metrics-token-0123456789");
    put("web-password", "$argon2id$argon-hash-of-the-page");
    let text = format!(
        "schema_version = 1\n[device]\nid = \"box-1\"\ndata_dir = {:?}\n[web]\nmetrics_token = {{ file = \"metrics.token\" }}\n\
         [mqtt]\nurl = \"mqtt://127.0.0.1\"\nuser = \"u\"\npassword = {{ file = \"mqtt.password\" }}\n\
         [[camera]]\nid = \"front\"\nsource = \"rtsp://192.0.2.1/a?auth=token-in-a-query\"\n\
         [[output]]\nid = \"push\"\nstream = \"front\"\nurl = \"rtmp://live.example/app/stream-key-of-rtmp\"\n",
        dir.path()
    );
    let config = crate::config::parse(
        &text,
        &dir.path().join("synoptic.toml"),
        &crate::config::ThisMachine,
    )
    .unwrap()
    .config;
    // As no configuration may be, and as a person may leave a file: in a comment, and in a key that is refused.
    let odd = "# was rtsp://me:url-password@192.0.2.1/a\n# broker-pass-word is the old one\n";
    put("synoptic.toml", &(odd.to_owned() + &text));
    let (hub, _reloads) = Hub::new();
    let mut status = crate::mqtt::samples::status(&["front"]);
    status.cameras[0].status.reason = Some("rtsp://x:url-password@cam refuses broker-pass-word".into());
    hub.status.send_replace(Some(Arc::new(status)));
    let clock = SystemClock::shared();
    let bundle = Arc::new(SupportBundle {
        path: dir.path().join("synoptic.toml"),
        config: Arc::new(ArcSwap::from_pointee(config)),
        hub,
        clock,
        map: Arc::new(ArcSwap::from_pointee(ClockMap {
            boot_id: BootId(BOOT),
            version: 1,
            utc_minus_mono: Span::from_secs(1_795_000_000),
            error: None,
        })),
    });
    assert_eq!(bundle.newest(), None);
    let desk = Box1::new().desk(dir.path(), BOOT, vec![bundle.command()]);
    ask(&desk, "support-bundle", "s1", json!({})).await;
    let done = ended(&desk, "s1").await;
    let result = done.result.unwrap_or_else(|| panic!("{:?}", done.reason));
    let path = bundle.newest().unwrap();
    assert_eq!(path.file_name().unwrap().to_str(), result["file"].as_str());
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);

    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(&path).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry
            .path()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        files.insert(name, content);
    }
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "about.json",
            "chrony.txt",
            "clock.json",
            "commands.json",
            "configuration.toml",
            "database.txt",
            "files.txt",
            "journal.txt",
            "status.json",
            "system.txt"
        ]
    );
    for (name, content) in &files {
        assert!(!content.is_empty(), "{name}");
        for secret in PLANTED {
            assert!(!content.contains(secret), "{secret} is in {name}:\n{content}");
        }
    }
    let status: Value = serde_json::from_str(&files["status.json"]).unwrap();
    assert_eq!(
        status["cameras"][0]["status"]["reason"],
        "rtsp://***@cam refuses ***"
    );
    assert!(files["configuration.toml"].contains("id = \"front\""));
    assert!(files["commands.json"].contains("\"support-bundle\""));
    let about: Value = serde_json::from_str(&files["about.json"]).unwrap();
    assert_eq!(about["device"], "box-1");
    for number in ["s2", "s3", "s4"] {
        ask(&desk, "support-bundle", number, json!({})).await;
        ended(&desk, number).await;
    }
    let kept = std::fs::read_dir(dir.path().join("support")).unwrap().count();
    assert!(kept <= 3, "{kept} bundles");
}
