//! Both sides against OpenSSL's command line tools, over the kernel's loopback.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // Another program is reached through the kernel, in real time.

use super::*;
use core::task::{Context, Poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A kernel socket as a byte stream that is polled all the time.
struct Socket {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Socket {
    fn new(socket: TcpStream) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, received: Vec::new() }
    }
}

fn again<T>(cx: &Context<'_>, error: &std::io::Error) -> Poll<Result<T, StreamError>> {
    if error.kind() == ErrorKind::WouldBlock {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(StreamError::Reset))
}

impl ByteStream for Socket {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], StreamError>> {
        if self.received.is_empty() {
            let mut part = [0; 4096];
            match self.socket.read(&mut part) {
                Ok(n) => self.received.extend_from_slice(&part[..n]),
                Err(error) => return again(cx, &error),
            }
        }
        Poll::Ready(Ok(&self.received))
    }

    fn consume(&mut self, n: usize) {
        self.received.drain(..n);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[&[u8]]) -> Poll<Result<usize, StreamError>> {
        match self.socket.write(&data.concat()) {
            Ok(n) => Poll::Ready(Ok(n)),
            Err(error) => again(cx, &error),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let _ = self.socket.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn peer_gone(&self) -> bool {
        false
    }
}

/// Ends the program with the test, however that ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new(ca: &Ca, pair: &Pair) -> Self {
        let files = Self { dir: tempfile::tempdir().expect("a directory") };
        for (name, content) in [("ca", &ca.pem), ("cert", &pair.certificate), ("key", &pair.key)] {
            std::fs::write(files.path(name), content).expect("written");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `openssl ARGS`, where `@name` stands for a file of this directory.
    fn openssl(&self, args: &str) -> Program {
        let args = args.split_whitespace().map(|arg| match arg.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => arg.into(),
        });
        let piped = || Stdio::piped();
        let child = Command::new("openssl").args(args).stdin(piped()).stdout(piped()).stderr(Stdio::null()).spawn();
        Program(child.expect("openssl is installed"))
    }
}

/// Runs a future in real time, for ten seconds at most.
fn run<T: 'static>(exec: &Executor, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&result);
    exec.spawn(async move {
        let output = future.await;
        *slot.borrow_mut() = Some(output);
    });
    for _ in 0..50_000 {
        exec.run(64);
        if let Some(output) = result.borrow_mut().take() {
            return output;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("no result within ten seconds");
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Serves one `s_client`, in whose session `commands` are typed and then the line `ping`, which is answered; what we saw
/// and what it printed.
fn serve_openssl(tls: &ServerTls, files: &Files, commands: &'static [&str], args: &str) -> (Seen, String) {
    let (listener, address) = listen();
    let mut program = files.openssl(&format!("s_client -connect {address} -servername server.example {args}"));
    let mut stdin = program.0.stdin.take().expect("piped");
    let socket = Socket::new(listener.accept().expect("connected").0);
    let exec = Executor::new(Instant::ZERO);
    let (tls, handle) = (tls.clone(), exec.clone());
    let seen = run(&exec, async move {
        let mut stream = accept(socket, &tls, &Buffers::default(), &handle, TIMEOUT).await.expect("handshake");
        for command in commands.iter().chain(&["ping\n"]) {
            // It takes what it reads at once for one command or one piece of data.
            std::thread::sleep(Duration::from_millis(100));
            stdin.write_all(command.as_bytes()).expect("written");
        }
        let mut line = Vec::new();
        while !line.ends_with(b"ping\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await, Ok(1), "after {line:?}");
            line.push(byte[0]);
        }
        assert_eq!(line, b"ping\n", "commands are not data");
        stream.write_all(b"pong\n").await.expect("open");
        stream.shutdown().await.expect("open");
        read_to_end(&mut stream).await.expect("closed in order");
        drop(stdin);
        Seen::of(&stream)
    });
    let mut output = String::new();
    program.0.stdout.take().expect("piped").read_to_string(&mut output).expect("text");
    (seen, output)
}

#[test]
fn the_order_of_suites_is_ours_whatever_a_client_prefers() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let files = Files::new(&ca, &pair);
    let tls = server(&ServerSpec { clock: wall_clock(), ..server_spec(&pair) });
    for (args, chosen) in [
        ("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        (
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
    ] {
        let (_, output) = serve_openssl(&tls, &files, &[], args);
        assert!(output.contains(&format!("Cipher is {chosen}")), "{chosen} is not in {output}");
    }
}

#[test]
fn openssl_as_a_client_with_a_certificate_resumption_and_a_key_update() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/openssl", 3));
    let files = Files::new(&ca, &own);
    let keys = Some(Arc::new(TicketKeys::generate().expect("random")));
    let spec = ServerSpec {
        client_auth: ClientAuth::Required(ca.trust()),
        alpn: vec![b"http/1.1"],
        tickets: keys,
        clock: wall_clock(),
        ..server_spec(&pair)
    };
    let tls = server(&spec);
    let common =
        "-CAfile @ca -cert @cert -key @key -verify_return_error -verify_hostname server.example -alpn http/1.1";
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let commands: &[_] = if flag == "-tls1_3" { &["K\n", "K\n"] } else { &[] };
        let (seen, output) = serve_openssl(&tls, &files, commands, &format!("{common} {flag} -sess_out @session"));
        let expected = |resumed| Seen {
            version,
            alpn: Some(b"http/1.1".to_vec()),
            peer: Some("spiffe://mesh/openssl".into()),
            resumed,
        };
        assert_eq!(seen, expected(false));
        for line in ["pong\n", "Verify return code: 0 (ok)", "ALPN protocol: http/1.1"] {
            assert!(output.contains(line), "{line:?} is not in {output}");
        }
        let (seen, output) = serve_openssl(&tls, &files, &[], &format!("{common} {flag} -sess_in @session"));
        assert_eq!(seen, expected(true));
        assert!(output.contains("Reused, "), "{output}");
    }
}

#[test]
fn a_client_that_understands_other_signatures_is_told_so() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let files = Files::new(&ca, &pair);
    let tls = server(&ServerSpec { clock: wall_clock(), ..server_spec(&pair) });
    for flag in ["-tls1_2", "-tls1_3"] {
        let (listener, address) = listen();
        let args = "-sigalgs rsa_pss_rsae_sha256 -CAfile @ca -msg";
        let mut program = files.openssl(&format!("s_client -connect {address} {flag} {args}"));
        let socket = Socket::new(listener.accept().expect("connected").0);
        let exec = Executor::new(Instant::ZERO);
        let (tls, handle) = (tls.clone(), exec.clone());
        let outcome =
            run(&exec, async move { accept(socket, &tls, &Buffers::default(), &handle, TIMEOUT).await.map(drop) });
        assert_eq!(outcome, Err(TlsError::Incompatible.into()), "{flag}");
        let mut output = String::new();
        program.0.stdout.take().expect("piped").read_to_string(&mut output).expect("text");
        assert!(output.contains("fatal access_denied"), "{flag}: {output}");
    }
}

#[test]
fn openssl_as_a_server_that_asks_for_a_certificate() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/tidegate", 4));
    let files = Files::new(&ca, &pair);
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (listener, address) = listen();
        drop(listener);
        let args = "-CAfile @ca -cert @cert -key @key -Verify 1 -verify_return_error -quiet -rev";
        let mut program = files.openssl(&format!("s_server -accept {address} {args} {flag}"));
        let socket = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            TcpStream::connect(address).ok()
        });
        assert!(matches!(program.0.try_wait(), Ok(None)), "the server runs");
        let socket = Socket::new(socket.expect("the server listens within five seconds"));
        let spec = ClientSpec { identity: Some(own.as_spec()), clock: wall_clock(), ..client_spec(&ca) };
        let connector = client(&spec);
        let exec = Executor::new(Instant::ZERO);
        let handle = exec.clone();
        let seen = run(&exec, async move {
            let mut stream =
                connect(socket, &connector, &Buffers::default(), &handle, TIMEOUT).await.expect("handshake");
            let line: Vec<u8> = (0..15_000).map(|n| b'a' + (n % 23) as u8).collect();
            stream.write_all(&line).await.expect("open");
            stream.write_all(b"\n").await.expect("open");
            stream.flush().await.expect("open");
            let mut answer = vec![];
            while answer.len() <= line.len() {
                let mut part = [0; 1000];
                let n = stream.read(&mut part).await.expect("open");
                assert!(n > 0, "ended after {}", answer.len());
                answer.extend_from_slice(&part[..n]);
            }
            answer.pop();
            answer.reverse();
            assert!(answer == line);
            stream.shutdown().await.expect("open");
            Seen::of(&stream)
        });
        let peer = Some("server.example".into());
        assert_eq!(seen, Seen { version, alpn: None, peer, resumed: false });
    }
}
