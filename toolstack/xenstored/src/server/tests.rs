//! The daemon and both clients together, over sockets in a temporary directory.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tempfile::TempDir;
use xenstore::{Endpoint, ErrorCode, Header, MessageType, blocking};

use super::Server;
use crate::files;
use crate::logic::quota::Limits;

/// A running daemon; stopped when dropped.
struct Running {
    directory: TempDir,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(directory: TempDir) -> Self {
        let path = directory.path().to_owned();
        let listeners = files::listen(&path).unwrap();
        let (stop, signal) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let saved = files::load_state(&path).unwrap();
            let mut server = Server::new(Limits::default(), saved.as_ref(), false).unwrap();
            server.run(&listeners, &signal).unwrap();
            files::save_state(&path, &server.save()).unwrap();
        });
        Self {
            directory,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn restart(mut self) -> Self {
        self.stop();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Self::start_in(directory)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn client(&self) -> blocking::Client {
        client(&self.socket())
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn client(socket: &Path) -> blocking::Client {
    blocking::Client::connect_to(&Endpoint::Socket(socket.to_owned())).unwrap()
}

#[test]
fn transactions_of_many_clients_lose_nothing() {
    let running = Running::start();
    running.client().store().write("/counter", "0").unwrap();
    let count = || {
        let client = client(&running.socket());
        for _ in 0..50 {
            client
                .transaction::<_, xenstore::Error>(|store| {
                    let value: u32 = store.read_string("/counter")?.parse().unwrap();
                    store.write("/counter", (value + 1).to_string())
                })
                .unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(count);
        }
    });
    assert_eq!(
        running.client().store().read_string("/counter").unwrap(),
        "200"
    );
}

#[test]
fn garbage_ends_only_its_own_connection() {
    let running = Running::start();
    let client = running.client();
    let mut bad = UnixStream::connect(running.socket()).unwrap();
    let header = Header {
        kind: 2,
        request: 1,
        transaction: 0,
        len: u32::MAX,
    };
    bad.write_all(&header.encode()).unwrap();
    assert_eq!(bad.read(&mut [0; 16]).unwrap(), 0, "closed");
    let mut gone = UnixStream::connect(running.socket()).unwrap();
    gone.write_all(b"half a hea").unwrap();
    drop(gone);
    assert_eq!(
        client.store().read_string("/local/domain/0/domid").unwrap(),
        "0"
    );
}

#[test]
fn a_client_that_does_not_read_does_not_stop_others() {
    let running = Running::start();
    let mut deaf = UnixStream::connect(running.socket()).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let request = Header {
        kind: MessageType::Directory.number(),
        request: 1,
        transaction: 0,
        len: 2,
    };
    let one = [request.encode().as_slice(), b"/\0"].concat();
    let bytes = one.repeat(100_000);
    let mut sent = 0;
    // Until the daemon takes no more of it.
    let mut quiet = 0;
    while quiet < 100 {
        match deaf.write(&bytes[sent..]) {
            Ok(n) => {
                sent += n;
                quiet = 0;
            }
            Err(_) => {
                quiet += 1;
                running
                    .client()
                    .store()
                    .write("/alive", quiet.to_string())
                    .unwrap();
            }
        }
    }
    assert!(sent < bytes.len());
    assert_eq!(
        running.client().store().read_string("/alive").unwrap(),
        "100"
    );
}

#[test]
fn long_directories_and_errors_arrive() {
    let running = Running::start();
    let client = running.client();
    let names: Vec<String> = (0..500)
        .map(|n| format!("a-rather-long-name-{n:04}"))
        .collect();
    for name in &names {
        client.store().write(&format!("/many/{name}"), "").unwrap();
    }
    assert_eq!(client.store().directory("/many").unwrap(), names);
    let error = client.store().read("/none").unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ENOENT));
    assert!(error.to_string().contains("/none"), "{error}");
    let read_only = Endpoint::Socket(running.directory.path().join("socket_ro"));
    let error = blocking::Client::connect_to(&read_only)
        .unwrap()
        .store()
        .write("/x", "")
        .unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::EROFS));
}

#[test]
fn the_tree_outlives_the_daemon() {
    let running = Running::start();
    running
        .client()
        .store()
        .write("/kept", [0, 1, 0xff, b'x'])
        .unwrap();
    let running = running.restart();
    assert_eq!(
        running.client().store().read("/kept").unwrap(),
        [0, 1, 0xff, b'x']
    );
    assert!(
        !running.directory.path().join("state.json").exists(),
        "a state is good once"
    );
}

#[tokio::test]
async fn the_asynchronous_client_watches() {
    let running = Running::start();
    let client = xenstore::Client::connect_to(&Endpoint::Socket(running.socket()))
        .await
        .unwrap();
    let mut watch = client.watch("/w").await.unwrap();
    assert_eq!(watch.next().await.as_deref(), Some("/w"));
    let task = tokio::spawn({
        let client = client.clone();
        async move {
            // The future of a transaction can be sent to another thread.
            client
                .transaction::<_, xenstore::Error, _>(async |t| {
                    t.write("/w/a", "1").await?;
                    t.write("/w/b", "2").await
                })
                .await
        }
    });
    task.await.unwrap().unwrap();
    assert_eq!(watch.next().await.as_deref(), Some("/w/a"));
    assert_eq!(watch.next().await.as_deref(), Some("/w/b"));
    let dropped = client.begin().await.unwrap();
    dropped.write("/w/c", "3").await.unwrap();
    drop(dropped);
    assert!(client.read_optional("/w/c").await.unwrap().is_none());
    drop(watch);
    client.write("/w/d", "4").await.unwrap();
    drop(running);
    assert!(matches!(
        client.read("/w/d").await,
        Err(xenstore::Error::Disconnected)
    ));
}
