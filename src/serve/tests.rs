//! The loop over real sockets, with a session that speaks a small language of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::journal::{Format, format};
use crate::limits::PIECE_BYTES;
use crate::session::receive::Receiver;
use crate::session::stream::Sending;
use crate::session::{Context, Farewell, Input, Io, Next, SecretAnswer, SecretJob, Upgrade};
use crate::types::{AccountId, BodyId, Class, FolderId};

const ACCOUNT: AccountId = AccountId(1);
const WORD: &[u8] = b"0123456789abcdef";

/// A session that does what each line says.
#[derive(Default)]
struct Toy {
    receiver: Option<(Receiver, usize)>,
    sending: Option<Sending>,
}

impl Toy {
    fn line(&mut self, line: &str, io: &mut Io, cx: &mut Context<'_>) -> Option<Next> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "echo" => say(io, rest),
            "tls" => {
                say(io, "go");
                return Some(Next::Upgrade(Upgrade::Tls));
            }
            "panic" => panic!("on purpose"),
            "idle" => {
                say(io, "idling");
                return Some(Next::Wait { account: Some(ACCOUNT), seconds: 60, bytes: true });
            }
            "pause" => return Some(Next::Wait { account: None, seconds: 1, bytes: false }),
            "hash" => return Some(Next::Secret(SecretJob::Make { password: rest.into() })),
            "setup" => {
                cx.store().domain_add("example.test").unwrap();
                cx.store().mailbox_add("a@example.test", Class::S, String::from("x")).unwrap();
                say(io, "done");
            }
            "put" => {
                let body = cx.store().new_body();
                self.receiver = Some((Receiver::new(body), rest.parse().unwrap()));
                return Some(self.put(io, cx));
            }
            "get" => {
                let mut store = cx.store();
                let last = store.account(ACCOUNT).unwrap().folders[&FolderId::INBOX].messages.last();
                let last = last.unwrap();
                self.sending = Some(Sending::new(last.body, 0..u64::from(last.size)));
                return self.sending.as_ref().unwrap().load();
            }
            "lost" => {
                return Some(Next::Load(crate::session::Load::Body { body: BodyId(u64::MAX), offset: 0 }));
            }
            "bye" => {
                say(io, "bye");
                return Some(Next::Close);
            }
            _ => say(io, "what?"),
        }
        None
    }

    fn put(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Next {
        let (receiver, left) = self.receiver.as_mut().unwrap();
        while *left > 0 && !receiver.full() {
            *left -= receiver.push(&WORD[..WORD.len().min(*left)]);
        }
        if let Some(next) = receiver.store() {
            return next;
        }
        let (receiver, _) = self.receiver.take().unwrap();
        let kept = cx.store().reserve(ACCOUNT, receiver.size()).unwrap();
        let (message, _kept) = receiver.finish(cx.now);
        let uids = cx.store().deliver(message, vec![(ACCOUNT, kept)]).unwrap();
        say(io, &format!("uid {}", uids[0].unwrap()));
        Next::Send
    }
}

fn say(io: &mut Io, text: &str) {
    io.out.extend_from_slice(text.as_bytes());
    io.out.push(b'\n');
}

impl Session for Toy {
    fn step(&mut self, input: Input<'_>, io: &mut Io, cx: &mut Context<'_>) -> Next {
        match input {
            Input::Start => say(io, if cx.peer.tls { "hello, secretly" } else { "hello" }),
            Input::Eof => return Next::Close,
            Input::Woken => {
                let count = cx.store().account(ACCOUNT).unwrap().folders[&FolderId::INBOX].count();
                say(io, &format!("woken {count}"));
                return Next::Wait { account: Some(ACCOUNT), seconds: 60, bytes: true };
            }
            Input::Timeout => say(io, "time"),
            Input::Secret(SecretAnswer::Made { phc }) => say(io, &phc),
            Input::Stored(stored) => {
                stored.unwrap();
                return self.put(io, cx);
            }
            Input::Loaded(Ok(bytes)) => {
                let sending = self.sending.as_mut().unwrap();
                io.out.extend_from_slice(sending.take(bytes));
                return Next::Send;
            }
            Input::Loaded(Err(error)) => say(io, &format!("{error:?}")),
            Input::Sent => {
                if let Some(next) = self.sending.as_ref().and_then(Sending::load) {
                    return next;
                }
            }
            Input::Bytes | Input::Upgraded | Input::Secret(_) | Input::Job(_) => {}
        }
        while let Some(end) = io.inbox.bytes().iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(io.inbox.bytes()[..end].to_vec()).unwrap();
            io.inbox.consume(end + 1);
            if let Some(next) = self.line(&line, io, cx) {
                return next;
            }
        }
        Next::Read { seconds: 60 }
    }

    fn farewell(&mut self, why: Farewell, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("farewell {why:?}\n").as_bytes());
    }
}

/// A server on a store in a file of its own, on ports that were free.
struct Place {
    running: Option<Running>,
    options: Options,
}

impl Place {
    fn new(name: &str) -> Place {
        Place::with(name, u64::MAX, |_, _| Box::new(Toy::default()))
    }

    fn with(name: &str, descriptors: u64, sessions: Sessions) -> Place {
        let store = std::env::temp_dir().join(format!("postfach-serve-{}-{name}", std::process::id()));
        let file = device::File::create(&store, 64 << 20, true).unwrap();
        format(&file, &Format { segment_bytes: None, force: true }, &mut random).unwrap();
        drop(file);
        let mut options = Options { store, bind: vec![[127, 0, 0, 1].into()], ..Options::default() };
        let running = (0..100).find_map(|_| {
            let mut number = [0; 2];
            random(&mut number);
            options.port_base = 20_000 + u16::from_ne_bytes(number) % 40_000;
            Running::start(&options, descriptors, sessions).ok()
        });
        Place { running: Some(running.expect("a hundred ranges cannot all be taken")), options }
    }

    fn server(&self) -> &Server {
        &self.running.as_ref().unwrap().server
    }

    fn tcp(&self, port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.options.port_base + port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn plain(&self) -> Client<TcpStream> {
        let mut client = Client(BufReader::new(self.tcp(143)));
        client.hears("hello");
        client
    }

    fn secret(&self, stream: TcpStream) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        self.server().tls.with_own(|own| roots.add(CertificateDer::from(own.to_vec())).unwrap());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Client(BufReader::new(StreamOwned::new(session, stream)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
        let _gone = std::fs::remove_file(&self.options.store);
    }
}

struct Client<S>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    fn says(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn hears(&mut self, text: &str) {
        assert_eq!(self.line().trim_end_matches('\n'), text);
    }
}

#[test]
fn a_conversation_on_tcp() {
    let place = Place::new("tcp");
    let mut client = place.plain();
    client.says("echo a\necho b\nec");
    client.hears("a");
    client.hears("b");
    client.says("ho c\npause\necho d\nlost\nhash x\nbye\n");
    for heard in ["c", "time", "d", "Missing"] {
        client.hears(heard);
    }
    assert!(client.line().starts_with("$argon2id$"));
    client.hears("bye");
    client.hears("");
}

#[test]
fn a_message_goes_in_and_comes_out_in_pieces_and_wakes_who_waits() {
    let place = Place::new("pieces");
    let mut client = place.plain();
    client.says("setup\n");
    client.hears("done");
    let mut watcher = place.plain();
    watcher.says("idle\n");
    watcher.hears("idling");
    let size = 20 * PIECE_BYTES + 777;
    client.says(&format!("put {size}\n"));
    client.hears("uid 1");
    assert!(watcher.line().starts_with("woken"));
    client.says("get\necho end\n");
    let mut message = vec![0; size];
    client.0.read_exact(&mut message).unwrap();
    assert!(message.chunks(WORD.len()).all(|chunk| WORD.starts_with(chunk)));
    client.hears("end");
    let durable = place.server().progress.durable();
    assert_eq!(durable, place.server().shared.lock().journal().last(), "what was told is durable");
}

#[test]
fn many_writers_share_commits_and_all_wake_the_watcher() {
    let place = Place::new("many");
    let mut first = place.plain();
    first.says("setup\nidle\n");
    first.hears("done");
    first.hears("idling");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = place.plain();
                for _ in 0..5 {
                    client.says("put 100\n");
                    assert!(client.line().starts_with("uid "));
                }
            });
        }
    });
    while first.line() != "woken 40\n" {}
}

#[test]
fn tls_from_the_start_and_by_upgrade_where_plaintext_is_dropped() {
    let place = Place::new("tls");
    let mut client = place.secret(place.tcp(993));
    client.hears("hello, secretly");
    client.says("echo a\n");
    client.hears("a");

    let mut plain = place.tcp(143);
    plain.write_all(b"tls\necho injected\n").unwrap();
    let mut heard = [0; 9];
    plain.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello\ngo\n");
    let mut client = place.secret(plain);
    client.says("echo b\nbye\n");
    client.hears("b");
    client.hears("bye");
    // The end is said with close_notify: without it, this would be an error.
    client.hears("");
}

#[test]
fn a_handshake_that_never_ends_does_not_hold_up_the_end() {
    let mut place = Place::new("handshake");
    let mut silent = place.tcp(993);
    let mut upgrading = place.plain();
    upgrading.says("tls\n");
    upgrading.hears("go");
    while place.server().crowd.count() < 2 {
        std::thread::yield_now();
    }
    let from = Instant::now();
    place.running.take().unwrap().stop();
    assert!(from.elapsed() < Duration::from_secs(u64::from(SHUTDOWN_SECONDS)));
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_defect_ends_one_conversation_only() {
    let place = Place::new("defect");
    let (mut one, mut other) = (place.plain(), place.plain());
    one.says("panic\n");
    one.hears("farewell Defect");
    one.hears("");
    other.says("echo still here\n");
    other.hears("still here");
}

#[test]
fn a_panic_outside_of_a_session_ends_no_thread() {
    /// Panics more often than there are threads.
    fn fragile(_: Service, _: &Server) -> Box<dyn Session> {
        static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        assert!(MADE.fetch_add(1, Ordering::Relaxed) >= 2 * thread::available_parallelism().unwrap().get());
        Box::new(Toy::default())
    }
    let place = Place::with("fragile", u64::MAX, fragile);
    for _ in 0..2 * thread::available_parallelism().unwrap().get() {
        Client(BufReader::new(place.tcp(143))).hears("");
    }
    let mut client = place.plain();
    client.says("echo still here\n");
    client.hears("still here");
}

#[test]
fn who_is_one_too_many_is_told_so() {
    let place = Place::with("crowd", 64 + 2, |_, _| Box::new(Toy::default()));
    let (_one, _other) = (place.plain(), place.plain());
    Client(BufReader::new(place.tcp(143))).hears("farewell Busy");
    let mut console = console(&place);
    console.hears("hello");
}

fn console(place: &Place) -> Client<UnixStream> {
    let stream = UnixStream::connect(console_socket(&place.options.store)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Client(BufReader::new(stream))
}

#[test]
fn stopping_says_goodbye_and_a_new_start_finds_everything() {
    let mut place = Place::new("stop");
    let mut client = console(&place);
    client.hears("hello");
    let kept = |place: &Place| place.server().shared.lock().state().settings.certificate.clone();
    assert!(kept(&place).is_none(), "nobody has a mailbox");
    client.says("setup\n");
    client.hears("done");
    // The first domain brings the certificate, with its name.
    let deadline = Instant::now() + Duration::from_secs(20);
    while kept(&place).is_none_or(|kept| tls::fingerprint(&kept.chain[0]) != place.server().fingerprint()) {
        assert!(Instant::now() < deadline, "no certificate is kept, or not shown");
        thread::sleep(Duration::from_millis(10));
    }
    let own = kept(&place).unwrap().chain[0].clone();
    assert!(own.windows(17).any(|bytes| bytes == b"mail.example.test"));
    let socket = console_socket(&place.options.store);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let fingerprint = place.server().fingerprint();
    let busy = Running::start(&place.options, u64::MAX, |_, _| Box::new(Toy::default())).err().unwrap();
    assert!(busy.to_string().contains("in use"), "{busy}");
    place.running.take().unwrap().stop();
    client.hears("farewell Shutdown");
    client.hears("");
    assert!(!socket.exists());
    // A server that was killed leaves its socket.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    place.running = Some(Running::start(&place.options, u64::MAX, |_, _| Box::new(Toy::default())).unwrap());
    assert_eq!(place.server().fingerprint(), fingerprint);
    assert_eq!(place.server().shared.lock().state().accounts.len(), 1);
}

#[test]
fn no_store_is_said_clearly() {
    let options = Options { store: "/nonexistent/store".into(), ..Options::default() };
    let error = Running::start(&options, u64::MAX, |_, _| Box::new(Toy::default())).err().unwrap();
    assert_eq!(
        error.to_string(),
        "no store at /nonexistent/store: make one with `postfach format --store /nonexistent/store --size 1G`"
    );
}
