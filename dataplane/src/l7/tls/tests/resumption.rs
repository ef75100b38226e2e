//! Tickets: across connections and reloads, and not across a change of policy.

use super::*;

fn tickets() -> Option<Arc<TicketKeys>> {
    Some(Arc::new(TicketKeys::generate().expect("random")))
}

fn resumed(server: &ServerTls, client: &Connector) -> bool {
    let (served, asked) = converse(server, client);
    let (served, asked) = (served.expect("served"), asked.expect("asked"));
    assert_eq!(served.resumed, asked.resumed);
    served.resumed
}

#[test]
fn a_second_connection_resumes_also_after_a_reload_and_a_rotation() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    for version in VERSIONS {
        let keys = tickets();
        let spec = ServerSpec { tickets: keys.clone(), ..server_spec(&pair) };
        let client = client(&ClientSpec { min_version: version, ..client_spec(&ca) });
        assert!(!resumed(&server(&spec), &client), "{version:?}: nothing to resume yet");
        assert!(resumed(&server(&spec), &client), "{version:?}: same keys, new configuration");
        let rotated = Arc::new(keys.expect("set").rotated().expect("random"));
        let spec = ServerSpec { tickets: Some(rotated), ..spec };
        assert!(resumed(&server(&spec), &client), "{version:?}: previous key");
        let spec = ServerSpec { tickets: tickets(), ..spec };
        assert!(!resumed(&server(&spec), &client), "{version:?}: other keys");
    }
}

#[test]
fn without_ticket_keys_nothing_is_resumed() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    for version in VERSIONS {
        let (server, client) =
            (server(&server_spec(&pair)), client(&ClientSpec { min_version: version, ..client_spec(&ca) }));
        assert!(!resumed(&server, &client) && !resumed(&server, &client), "{version:?}");
    }
}

#[test]
fn each_connector_has_its_own_memory() {
    let ca = Ca::new("ca");
    let pair = ca.dns(&["server.example"]);
    let server = server(&ServerSpec { tickets: tickets(), ..server_spec(&pair) });
    let (tls, _) = ClientTls::build(&client_spec(&ca)).expect("good");
    let (one, two) = (tls.connector(), tls.connector());
    assert!(!resumed(&server, &one) && resumed(&server, &one) && !resumed(&server, &two));
}

#[test]
fn a_resumed_session_keeps_the_clients_identity_and_a_changed_policy_ends_it() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/web", 7));
    let (empty, revoking) = (ca.crl(&[], 2040), ca.crl(&[7], 2040));
    for version in VERSIONS {
        let keys = tickets();
        let with = |auth| server(&ServerSpec { client_auth: auth, tickets: keys.clone(), ..server_spec(&pair) });
        let trust = |crl| Trust { ca: &ca.pem, crls: vec![crl] };
        let spec = ClientSpec { identity: Some(own.as_spec()), min_version: version, ..client_spec(&ca) };
        let client = client(&spec);
        let before = with(ClientAuth::Required(trust(&empty)));
        assert!(!resumed(&before, &client));
        let (served, _) = converse(&before, &client);
        let served = served.expect("served");
        assert_eq!((served.resumed, served.peer.as_deref()), (true, Some("spiffe://mesh/web")));
        let optional = with(ClientAuth::Optional(trust(&empty)));
        assert!(!resumed(&optional, &client), "{version:?}: other kind of authentication");
        let (served, _) = converse(&with(ClientAuth::Required(trust(&revoking))), &client);
        assert_eq!(served, Err(TlsError::Certificate(CertificateFault::Revoked).into()), "{version:?}");
    }
}

#[test]
fn a_session_does_not_outlive_the_clients_certificate() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.until(&["client.example"], 2031));
    for version in VERSIONS {
        let clock = clock();
        let spec = ServerSpec {
            client_auth: ClientAuth::Required(ca.trust()),
            tickets: tickets(),
            clock: clock.clone(),
            ..server_spec(&pair)
        };
        let server = server(&spec);
        let end = 1_924_992_000; // 2031-01-01
        clock.set(end - 60);
        let spec = ClientSpec {
            identity: Some(own.as_spec()),
            min_version: version,
            clock: clock.clone(),
            ..client_spec(&ca)
        };
        let client = client(&spec);
        assert!(!resumed(&server, &client) && resumed(&server, &client), "{version:?}");
        clock.set(end + 60);
        let (served, asked) = converse(&server, &client);
        assert_eq!(served, Err(TlsError::Certificate(CertificateFault::Expired).into()), "{version:?}");
        assert!(asked.is_err());
    }
}

#[test]
fn a_core_keeps_its_sessions_when_nothing_changed_and_loses_them_otherwise() {
    let ca = Ca::new("ca");
    let (pair, own) = (ca.dns(&["server.example"]), ca.spiffe("spiffe://mesh/web", 7));
    let server = server(&ServerSpec { tickets: tickets(), ..server_spec(&pair) });
    let built = |spec: &ClientSpec<'_>| ClientTls::build(spec).expect("good").0;
    let (one, same) = (built(&client_spec(&ca)), built(&client_spec(&ca)));
    let other = built(&ClientSpec { identity: Some(own.as_spec()), ..client_spec(&ca) });
    assert!(one == same && one != other);
    let mut connectors = Connectors::default();
    assert!(!resumed(&server, &connectors.of(&one)));
    assert!(resumed(&server, &connectors.of(&same)));
    assert!(!resumed(&server, &connectors.of(&other)), "shows another certificate");
    connectors.retain([&other]);
    assert!(!resumed(&server, &connectors.of(&one)), "forgotten");
}
