//! A TCP proxy between box and broker that can withhold the broker's answers and cut connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    held: watch::Sender<bool>,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(broker: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (held, cuts) = (watch::Sender::new(false), watch::Sender::new(0));
        let (held_rx, cuts_rx) = (held.subscribe(), cuts.subscribe());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (held, mut cuts) = (held_rx.clone(), cuts_rx.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else {
                        return;
                    };
                    tokio::select! {
                        () = forward(client, server, held) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy {
            port,
            held,
            cuts,
            task,
        }
    }

    /// Whether what the broker sends stays here.
    pub(crate) fn hold_answers(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Closes all connections to both sides.
    pub(crate) fn cut(&mut self) {
        self.cuts.send_modify(|n| *n += 1);
    }
}

async fn forward(client: TcpStream, server: TcpStream, mut held: watch::Receiver<bool>) {
    let (mut client_in, mut client_out) = client.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let there = tokio::io::copy(&mut client_in, &mut server_out);
    let back = async {
        let mut buffer = [0; 4096];
        loop {
            let Ok(n @ 1..) = server_in.read(&mut buffer).await else {
                return;
            };
            if held.wait_for(|h| !*h).await.is_err() || client_out.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { _ = there => {}, () = back => {} }
}
