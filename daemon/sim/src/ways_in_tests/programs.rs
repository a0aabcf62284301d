//! Programs of others, started for a test and ended by their own id.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use synoptic_base::Span;
use synoptic_media::clocks::SystemClock;

/// Whether a program is on the path.
pub(crate) fn there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).is_file())
}

/// Says aloud what a test cannot do without.
pub(crate) fn lacks(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|p| !there(p)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: {missing:?} is not here; scripts/setup.sh test installs it");
    }
    !missing.is_empty()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A running program; ended when dropped, its last words shown when the test fails.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; what it writes goes to a file in `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        let log = folder.join(format!("{}-{}.log", name.replace('/', "_"), free_port()));
        let file = std::fs::File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        Program { name, child, log }
    }

    /// FFmpeg.
    pub(crate) fn ffmpeg(arguments: &[&str], folder: &Path) -> Program {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-nostdin", "-hide_banner", "-loglevel", "warning"])
            .args(arguments);
        Program::start(command, folder)
    }

    /// FFmpeg that reads an RTSP camera, without probing long, and sends what it gets on as it is.
    pub(crate) fn relay(url: &str, to: &[&str], folder: &Path) -> Program {
        let mut arguments = vec![
            "-fflags",
            "nobuffer",
            "-analyzeduration",
            "500000",
            "-rtsp_transport",
            "tcp",
        ];
        arguments.extend(["-i", url, "-an", "-c", "copy"]);
        arguments.extend(to);
        Program::ffmpeg(&arguments, folder)
    }

    /// nginx with the RTMP module, and a folder served over HTTP.
    pub(crate) fn nginx(rtmp: u16, http: u16, folder: &Path) -> Program {
        let module = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
            .map(|f| Path::new(f).join("ngx_rtmp_module.so"))
            .into_iter()
            .find(|f| f.is_file())
            .expect("the caller looked");
        let at = folder.display();
        // As root nginx would give its workers away to a user who may not enter the folder.
        let root = std::fs::metadata(folder).unwrap().uid() == 0;
        let user = if root { "user root;" } else { "" };
        let config = format!(
            "load_module {};\n{user}\nworker_processes 1;\ndaemon off;\nmaster_process off;\npid {at}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{ live on; record off; }} }} }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; \
             server {{ listen 127.0.0.1:{http}; root {at}/www; }} }}\n",
            module.display()
        );
        std::fs::create_dir_all(folder.join("www")).unwrap();
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|p| Path::new(p).is_file());
        let mut command = Command::new(nginx.unwrap_or("nginx"));
        command.arg("-p").arg(folder).arg("-c").arg(&file);
        let program = Program::start(command, folder);
        answers(rtmp);
        program
    }
}

/// Whether nginx has its RTMP module.
pub(crate) fn lacks_rtmp_server() -> bool {
    let module = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"]
        .map(|f| Path::new(f).join("ngx_rtmp_module.so").is_file())
        .contains(&true);
    if !module {
        eprintln!("SKIPPED: nginx has no RTMP module; scripts/setup.sh test installs libnginx-mod-rtmp");
    }
    !module || lacks(&["nginx", "ffmpeg"])
}

/// Waits until something listens on a port.
pub(crate) fn answers(port: u16) {
    let clock = SystemClock::shared();
    let give_up = clock.now() + Span::from_secs(60);
    let (_never, pause) = crossbeam_channel::bounded::<()>(0);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(clock.now() < give_up, "nothing listens on port {port}");
        let waited = pause.recv_timeout(Span::from_millis(50).to_std());
        assert!(waited.is_err());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let ended = self.child.wait();
        if std::thread::panicking() {
            let words = std::fs::read_to_string(&self.log).unwrap_or_default();
            let from = words.len().saturating_sub(2_000);
            let last = words.get(from..).unwrap_or(&words);
            eprintln!("{} ({ended:?}) said:\n{last}", self.name);
        }
    }
}
