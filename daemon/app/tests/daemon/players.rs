//! Programs of others that take or play what the daemon sends: nginx as an RTMP server, FFmpeg and VLC as players.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use synoptic_base::{Clock, Mono};
use synoptic_media::clocks::SystemClock;

use crate::daemon::text;
use crate::harness::{Stage, until};

/// The user that owns nothing, on every Debian.
const NOBODY: u32 = 65_534;
/// Seconds after which a player is taken for hung.
const LIMIT: &str = "80";

/// A program that is ended when dropped.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says aloud what a test cannot do without.
pub(crate) fn lacks(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).is_file());
    if !there {
        eprintln!("SKIPPED: {program} is not here; scripts/setup.sh test installs it");
    }
    !there
}

/// nginx with its RTMP module, which takes what is pushed to `/live/…` of `port` and gives it to players; `None`, aloud, where it
/// has none.
pub(crate) fn rtmp_server(port: u16, stage: &Stage) -> Option<Program> {
    let module = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
        .map(|folder| Path::new(folder).join("ngx_rtmp_module.so"))
        .into_iter()
        .find(|module| module.is_file());
    let Some(module) = module else {
        eprintln!("SKIPPED: nginx has no RTMP module; scripts/setup.sh test installs libnginx-mod-rtmp");
        return None;
    };
    let folder = stage.dir.path();
    // As root nginx would give its worker away to a user who may not enter the folder.
    let root = std::fs::metadata(folder).unwrap().uid() == 0;
    let user = if root { "user root;" } else { "" };
    let config = format!(
        "load_module {};\n{user}\nworker_processes 1;\ndaemon off;\nmaster_process off;\npid {}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 64; }}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; record off; }} }} }}\n",
        module.display(),
        folder.display(),
    );
    let file = stage.path("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|p| Path::new(p).is_file());
    let child = Command::new(program.unwrap_or("nginx"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Program(child);
    until("nginx to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    Some(server)
}

/// Pictures that FFmpeg decodes of a stream, luma only, as they come. Ends by itself after so many.
pub(crate) struct Decoding(JoinHandle<(Option<Mono>, Vec<u8>, String)>);

impl Decoding {
    /// `input`: what goes before and with `-i`.
    pub(crate) fn start(input: &[&str], pictures: usize) -> Decoding {
        let mut command = Command::new("timeout");
        command
            .args([LIMIT, "ffmpeg", "-nostdin", "-loglevel", "error"])
            .args(input)
            .args(["-an", "-frames:v", &pictures.to_string()])
            .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Decoding(std::thread::spawn(move || {
            let (mut out, mut bytes, mut first) = (child.stdout.take().unwrap(), Vec::new(), None);
            let mut room = vec![0; 1 << 16];
            while let Ok(n) = out.read(&mut room) {
                if n == 0 {
                    break;
                }
                first.get_or_insert_with(|| SystemClock.now());
                bytes.extend_from_slice(&room[..n]);
            }
            let mut words = Vec::new();
            let _ = child.stderr.take().unwrap().read_to_end(&mut words);
            let _ = child.wait();
            (first, bytes, text(&words))
        }))
    }

    /// Waits for all pictures, which must be of this size, show both cameras' scene and move; when the first came.
    pub(crate) fn shows(self, name: &str, pictures: usize, (width, height): (u32, u32)) -> Mono {
        let (first, bytes, words) = self.0.join().unwrap();
        let picture = (width * height) as usize;
        assert_eq!(
            bytes.len(),
            pictures * picture,
            "{name}: {pictures} of {width}x{height}: {words}"
        );
        let (one, last) = (&bytes[..picture], &bytes[bytes.len() - picture..]);
        look(name, last, (width, height));
        is_a_scene(name, last, (width, height));
        let changed = one.iter().zip(last).filter(|(a, b)| a.abs_diff(**b) > 8).count();
        assert!(
            changed > picture / 1_000,
            "{name}: nothing moves: {changed} of {picture} pixels"
        );
        first.unwrap()
    }
}

/// Neither black nor flat, in the left third and in the right one: both cameras are shown.
fn is_a_scene(name: &str, luma: &[u8], (width, height): (u32, u32)) {
    let (w, h) = (width as usize, height as usize);
    for (side, columns) in [("left", 0..w / 3), ("right", w - w / 3..w)] {
        // The outermost rows may be black, where a turned camera does not reach.
        let rows = luma.chunks(w).skip(h / 5).take(h * 3 / 5);
        let values: Vec<f64> = rows
            .flat_map(|row| row[columns.clone()].iter().map(|v| f64::from(*v)))
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!(
            mean > 35.0 && sd > 8.0,
            "{name}, {side}: mean {mean:.1}, sd {sd:.1}"
        );
    }
}

/// Keeps a picture for people where SYNOPTIC_LOOK says.
fn look(name: &str, luma: &[u8], (width, height): (u32, u32)) {
    if let Some(folder) = std::env::var_os("SYNOPTIC_LOOK") {
        let mut file = format!("P5\n{width} {height}\n255\n").into_bytes();
        file.extend_from_slice(luma);
        std::fs::write(Path::new(&folder).join(format!("{name}.pgm")), file).unwrap();
    }
}

/// VLC as a user without rights plays `url` for some seconds and keeps pictures: the last must be of this size and show both
/// cameras' scene.
pub(crate) fn vlc_shows(url: &str, stage: &Stage, size: (u32, u32)) {
    if lacks("cvlc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for path in [folder.path(), &kept] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("cvlc");
    // VLC refuses to run as root.
    if std::fs::metadata(stage.dir.path()).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let child = command
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .args(["--intf", "dummy", "--no-audio", "--vout", "dummy", "--no-spu"])
        .args([
            "--video-filter",
            "scene",
            "--scene-format",
            "png",
            "--scene-ratio",
            "10",
        ])
        .arg("--scene-path")
        .arg(&kept)
        .args(["--avcodec-hw", "none", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let vlc = Program(child);
    // One that is complete: the last may be half written.
    let pictures = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&kept).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        found.sort();
        found
    };
    let all = until("three pictures of VLC", || {
        Some(pictures()).filter(|p| p.len() >= 3)
    });
    drop(vlc);
    let shown = all[1].to_str().unwrap();
    Decoding::start(&["-i", shown], 1).still("vlc", size);
}

impl Decoding {
    /// Of one picture that VLC kept: as wide as the stream; below it VLC keeps some rows of its decoder's own room.
    fn still(self, name: &str, size: (u32, u32)) {
        let (_, bytes, words) = self.0.join().unwrap();
        let (width, height) = (size.0 as usize, size.1 as usize);
        let rows = bytes.len() / width;
        assert_eq!(bytes.len() % width, 0, "{name}: {words}");
        assert!(
            (height..height + 64).contains(&rows),
            "{name}: {rows} rows of {height}: {words}"
        );
        let picture = &bytes[..width * height];
        look(name, picture, size);
        is_a_scene(name, picture, size);
    }
}
