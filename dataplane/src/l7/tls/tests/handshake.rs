//! Who is let in, and what the other side learns if not.

use super::*;
use rustls::AlertDescription as Alert;

fn required(trust: Trust<'_>) -> ClientAuth<'_> {
    ClientAuth::Required(trust)
}

#[test]
fn both_versions_without_client_authentication() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    for (version, name) in VERSIONS.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let client = client(&ClientSpec { min_version: version, ..client_spec(&ca) });
        let (served, asked) = converse(&server(&server_spec(&pair)), &client);
        assert_eq!(served, Ok(Seen { version: name, alpn: None, peer: None, resumed: false }));
        let peer = Some("server.example".into());
        assert_eq!(asked, Ok(Seen { version: name, alpn: None, peer, resumed: false }));
    }
}

#[test]
fn a_client_certificate_is_let_in_or_refused_with_the_right_alert() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let pair = ca.dns(&["server.example"]);
    let crl = ca.crl(&[7], 2040);
    let trust = || Trust { ca: &ca.pem, crls: vec![&crl] };
    let (good, revoked) = (ca.spiffe("spiffe://mesh/web", 6), ca.spiffe("spiffe://mesh/old", 7));
    let (foreign, expired) = (other.spiffe("spiffe://mesh/web", 6), ca.until(&["late.example"], 2029));
    let refused = |fault, alert| Err((TlsError::Certificate(fault), alert));
    let cases = [
        (Some(&good), Ok("spiffe://mesh/web")),
        (Some(&revoked), refused(CertificateFault::Revoked, Alert::CertificateRevoked)),
        (Some(&foreign), refused(CertificateFault::UnknownIssuer, Alert::UnknownCA)),
        (Some(&expired), refused(CertificateFault::Expired, Alert::CertificateExpired)),
        (None, Err((TlsError::NoCertificate, Alert::CertificateRequired))),
    ];
    for version in VERSIONS {
        for auth in [required(trust()), ClientAuth::Optional(trust())] {
            let optional = matches!(auth, ClientAuth::Optional(_));
            let tls = server(&ServerSpec { client_auth: auth, ..server_spec(&pair) });
            for (n, (shown, expected)) in cases.iter().enumerate() {
                let identity = shown.map(Pair::as_spec);
                let spec = ClientSpec { identity, min_version: version, ..client_spec(&ca) };
                let (served, asked) = converse(&tls, &client(&spec));
                let case = format!("{version:?}, optional {optional}, case {n}");
                match expected {
                    Ok(name) => {
                        assert_eq!(served.expect(&case).peer.as_deref(), Some(*name), "{case}");
                        assert!(asked.is_ok(), "{case}");
                    }
                    Err((TlsError::NoCertificate, _)) if optional => {
                        assert_eq!(served.expect(&case).peer, None, "{case}");
                    }
                    Err((error, alert)) => {
                        assert_eq!(served, Err(StreamError::Tls(*error)), "{case}");
                        assert_eq!(asked, Err(StreamError::Tls(TlsError::Alert(*alert))), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_outdated_revocation_list_refuses_everyone() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/web", 6));
    let crl = ca.crl(&[], 2029);
    let auth = required(Trust { ca: &ca.pem, crls: vec![&crl] });
    let tls = server(&ServerSpec { client_auth: auth, ..server_spec(&pair) });
    let (served, _) = converse(&tls, &client(&ClientSpec { identity: Some(own.as_spec()), ..client_spec(&ca) }));
    assert_eq!(served, Err(TlsError::Certificate(CertificateFault::RevocationUnknown).into()));
}

#[test]
fn the_client_checks_name_issuer_validity_and_revocation() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let serial_9 = ca.spiffe("spiffe://mesh/server", 9);
    let crl = ca.crl(&[9], 2040);
    let cases = [
        (ca.dns(&["elsewhere.example"]), ca.trust(), CertificateFault::WrongName, Alert::BadCertificate),
        (other.dns(&["server.example"]), ca.trust(), CertificateFault::UnknownIssuer, Alert::UnknownCA),
        (ca.until(&["server.example"], 2029), ca.trust(), CertificateFault::Expired, Alert::CertificateExpired),
        (serial_9, Trust { ca: &ca.pem, crls: vec![&crl] }, CertificateFault::Revoked, Alert::CertificateRevoked),
    ];
    for (pair, trust, fault, alert) in cases {
        for version in VERSIONS {
            let spec = ClientSpec { trust: trust.clone(), min_version: version, ..client_spec(&ca) };
            let (served, asked) = converse(&server(&server_spec(&pair)), &client(&spec));
            assert_eq!(asked, Err(TlsError::Certificate(fault).into()), "{version:?}");
            assert_eq!(served, Err(TlsError::Alert(alert).into()), "{fault:?} {version:?}");
        }
    }
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let ca = Ca::new("ca");
    let pairs = [ca.dns(&["default.example"]), ca.dns(&["a.example", "also.example"]), ca.dns(&["*.wild.example"])];
    let certificates = pairs.iter().map(Pair::as_spec).collect();
    let tls = server(&ServerSpec { certificates, ..server_spec(&pairs[0]) });
    let wrong = Err(StreamError::Tls(TlsError::Certificate(CertificateFault::WrongName)));
    for (name, expected) in [
        ("default.example", Ok("default.example")),
        ("a.example", Ok("a.example")),
        ("ALSO.example", Ok("a.example")),
        ("x.wild.example", Ok("*.wild.example")),
        ("y.x.wild.example", wrong),
        ("wild.example", wrong),
        ("127.0.0.1", wrong),
    ] {
        let (_, asked) = converse(&tls, &client(&ClientSpec { server_name: name, ..client_spec(&ca) }));
        assert_eq!(asked.map(|seen| seen.peer), expected.map(|peer| Some(peer.into())), "{name}");
    }
}

#[test]
fn alpn_is_the_servers_first_that_the_client_offers() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let tls = server(&ServerSpec { alpn: vec![b"h2", b"http/1.1"], ..server_spec(&pair) });
    let offering = |alpn: Vec<&'static [u8]>| converse(&tls, &client(&ClientSpec { alpn, ..client_spec(&ca) }));
    let (served, asked) = offering(vec![b"http/1.1", b"h2"]);
    assert_eq!(served.map(|seen| seen.alpn), Ok(Some(b"h2".to_vec())));
    assert_eq!(asked.map(|seen| seen.alpn), Ok(Some(b"h2".to_vec())));
    assert_eq!(offering(vec![]).0.map(|seen| seen.alpn), Ok(None));
    let (served, asked) = offering(vec![b"spdy/3"]);
    assert_eq!(served, Err(TlsError::NoApplicationProtocol.into()));
    assert_eq!(asked, Err(TlsError::Alert(Alert::NoApplicationProtocol).into()));
}

#[test]
fn no_version_in_common() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let tls = server(&ServerSpec { min_version: MinVersion::Tls13, ..server_spec(&pair) });
    let old = client(&ClientSpec { min_version: MinVersion::OnlyTls12, ..client_spec(&ca) });
    let (served, asked) = converse(&tls, &old);
    assert_eq!(served, Err(TlsError::Incompatible.into()));
    assert_eq!(asked, Err(TlsError::Alert(Alert::ProtocolVersion).into()));
}

#[test]
fn a_silent_client_is_closed_when_the_time_is_over() {
    let ca = Ca::new("ca");
    let tls = server(&server_spec(&ca.dns(&["server.example"])));
    let exec = Executor::new(Instant::ZERO);
    let (mut near, far) = duplex(1024);
    let handle = exec.clone();
    let (served, seen) = both(
        &exec,
        async move { (accept(far, &tls, &Buffers::default(), &handle, TIMEOUT).await.map(drop), handle.now()) },
        async move { near.read(&mut [0; 16]).await },
    );
    assert_eq!(served.0, Err(TlsError::HandshakeTimeout.into()));
    assert!(served.1 >= Instant::ZERO + TIMEOUT && served.1 <= Instant::ZERO + TIMEOUT + Duration::from_millis(1));
    assert_eq!(seen, Ok(0));
}

/// What a server says to a client that sends `bytes` and waits; and what it makes of them.
fn answer_to(bytes: &[u8]) -> (Result<(), StreamError>, Vec<u8>) {
    let ca = Ca::new("ca");
    let tls = server(&server_spec(&ca.dns(&["server.example"])));
    let exec = Executor::new(Instant::ZERO);
    let (mut near, far) = duplex(1 << 18);
    let (handle, bytes) = (exec.clone(), bytes.to_vec());
    let (served, seen) = both(
        &exec,
        async move { accept(far, &tls, &Buffers::default(), &handle, TIMEOUT).await.map(drop) },
        async move {
            near.write_all(&bytes).await?;
            read_to_end(&mut near).await
        },
    );
    (served, seen.expect("closed in order"))
}

#[test]
fn what_is_not_tls_gets_an_alert_and_the_end() {
    let mut endless = Vec::new();
    endless.extend_from_slice(&[22, 3, 1, 64, 0, 1, 0, 255, 255]); // A message of 64 KiB and its first record …
    endless.resize(5 + 16_384, 0);
    let cases: [(&str, &[u8]); 5] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no message has this type, and its length is 6 MB", b"\x16\x03\x01\x00\x05hello"),
        ("a hello of 16 MiB", b"\x16\x03\x01\x00\x05\x01\xff\xff\xff0"),
        ("data before the handshake", b"\x17\x03\x03\x00\x01a"),
        ("more hello than a hello can have", &endless.repeat(6)),
    ];
    for (what, bytes) in cases {
        let (served, seen) = answer_to(bytes);
        assert_eq!(served, Err(TlsError::Misbehaved.into()), "{what}");
        assert_eq!((seen.len(), seen[0], seen[5]), (7, 21, 2), "one fatal alert record: {what}, {seen:?}");
    }
}

#[test]
fn a_client_that_leaves_during_the_handshake_is_reported() {
    let ca = Ca::new("ca");
    let tls = server(&server_spec(&ca.dns(&["server.example"])));
    let exec = Executor::new(Instant::ZERO);
    let (mut near, far) = duplex(1024);
    let handle = exec.clone();
    let (served, _) = both(
        &exec,
        async move { accept(far, &tls, &Buffers::default(), &handle, TIMEOUT).await.map(drop) },
        async move {
            near.write_all(&[22, 3, 1, 0]).await.expect("room");
            near.shutdown().await
        },
    );
    assert_eq!(served, Err(TlsError::HandshakeEof.into()));
}

#[test]
fn a_crowd_that_shakes_hands_does_not_hold_up_the_turn() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let (tls, exec) = (server(&server_spec(&pair)), Executor::new(Instant::ZERO));
    let connector = client(&client_spec(&ca));
    let established = Rc::new(core::cell::Cell::new(0));
    for _ in 0..6 {
        let (near, far) = duplex(64 << 10);
        let (tls, connector, count) = (tls.clone(), connector.clone(), Rc::clone(&established));
        let (here, there) = (exec.clone(), exec.clone());
        exec.spawn(async move {
            let accepted = accept(near, &tls, &Buffers::default(), &here, TIMEOUT).await;
            count.set(count.get() + usize::from(accepted.is_ok()));
        });
        exec.spawn(async move {
            let connected = connect(far, &connector, &Buffers::default(), &there, TIMEOUT).await;
            assert!(connected.is_ok());
        });
    }
    let mut runs = 0;
    while exec.has_runnable() {
        exec.run(1000);
        runs += 1;
    }
    assert_eq!(established.get(), 6);
    // A client makes a key and checks what it gets, a server answers: eighteen pieces of costly work, two in a run.
    assert!(runs >= 9, "{runs}");
}
