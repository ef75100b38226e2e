//! Mistakes in configurations: all are found, each names its part.

use super::*;
use ConfigFault as F;

fn errors(spec: &ServerSpec<'_>) -> Vec<(Part, ConfigFault)> {
    ServerTls::build(spec).expect_err("mistakes").iter().map(|error| (error.part, error.fault)).collect()
}

fn trusting<'a>(pair: &'a Pair, trust: Trust<'a>) -> ServerSpec<'a> {
    ServerSpec { client_auth: ClientAuth::Required(trust), ..server_spec(pair) }
}

#[test]
fn certificates_and_keys() {
    let ca = Ca::new("ca");
    let (a, b) = (ca.dns(&["a.example"]), ca.dns(&["b.example"]));
    let damaged: &[u8] = b"-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    let not_der: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd_key: &[u8] = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let with = |certificate, key| ServerSpec {
        certificates: vec![a.as_spec(), KeyPair { certificate, key }],
        ..server_spec(&a)
    };
    let (cert, key) = (Part::Certificate(1), Part::Key(1));
    assert_eq!(errors(&with(b"", b"")), [(cert, F::NoCertificate), (key, F::NoKey)]);
    assert_eq!(errors(&with(&b.key, &b.certificate)), [(cert, F::NoCertificate), (key, F::NoKey)]);
    assert_eq!(errors(&with(damaged, &b.key)), [(cert, F::BadPem)]);
    assert_eq!(errors(&with(not_der, &b.key)), [(cert, F::BadCertificate(0))]);
    assert_eq!(errors(&with(&b.certificate, odd_key)), [(key, F::UnsupportedKey)]);
    assert_eq!(errors(&with(&b.certificate, &a.key)), [(key, F::KeyMismatch)]);
    assert_eq!(errors(&ServerSpec { certificates: vec![], ..server_spec(&a) }), [(Part::Certificates, F::Empty)]);
    assert_eq!(errors(&ServerSpec { alpn: vec![b"h2", b""], ..server_spec(&a) }), [(Part::Alpn(1), F::BadAlpn)]);
}

#[test]
fn authorities_and_revocation_lists() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let impostor = Ca::new("ca");
    let pair = ca.dns(&["a.example"]);
    let (good, foreign, forged) = (ca.crl(&[1], 2040), other.crl(&[], 2040), impostor.crl(&[], 2040));
    assert_eq!(errors(&trusting(&pair, Trust { ca: b"", crls: vec![] })), [(Part::Ca, F::NoCertificate)]);
    let lists = |crls| errors(&trusting(&pair, Trust { ca: &ca.pem, crls }));
    assert_eq!(lists(vec![&good, &foreign]), [(Part::Crl(1), F::CrlIssuerUnknown)]);
    assert_eq!(lists(vec![&forged, &good]), [(Part::Crl(0), F::CrlSignature)]);
    assert_eq!(lists(vec![b"", &pair.certificate]), [(Part::Crl(0), F::NoCrl), (Part::Crl(1), F::NoCrl)]);
    let odd: &[u8] = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert_eq!(lists(vec![odd]), [(Part::Crl(0), F::BadCrl)]);
}

#[test]
fn clients() {
    let ca = Ca::new("ca");
    let (a, b) = (ca.dns(&["a.example"]), ca.dns(&["b.example"]));
    let identity = Some(KeyPair { certificate: &a.certificate, key: &b.key });
    let spec =
        ClientSpec { server_name: "not a name", identity, trust: Trust { ca: b"", crls: vec![] }, ..client_spec(&ca) };
    let errors = ClientTls::build(&spec).expect_err("mistakes");
    let found: Vec<_> = errors.iter().map(|error| (error.part, error.fault)).collect();
    assert_eq!(found, [(Part::ServerName, F::BadName), (Part::Ca, F::NoCertificate), (Part::Key(0), F::KeyMismatch)]);
    assert_eq!(errors[2].to_string(), "key 1 does not belong to its certificate");
}

#[test]
fn what_works_but_hardly_as_meant_is_a_warning() {
    let ca = Ca::new("ca");
    let (old, nameless) = (ca.until(&["a.example"], 2029), ca.spiffe("spiffe://mesh/a", 1));
    let crl = ca.crl(&[], 2029);
    let auth = ClientAuth::Optional(Trust { ca: &ca.pem, crls: vec![&crl] });
    let spec =
        ServerSpec { certificates: vec![old.as_spec(), nameless.as_spec()], client_auth: auth, ..server_spec(&old) };
    let (_, warnings) = ServerTls::build(&spec).expect("works");
    let start_of_2029 = 1_861_920_000;
    let found: Vec<_> = warnings.iter().map(|warning| (warning.part, warning.doubt)).collect();
    assert_eq!(
        found,
        [
            (Part::Certificate(0), Doubt::Expired(start_of_2029)),
            (Part::Certificate(1), Doubt::NoNames),
            (Part::Crl(0), Doubt::CrlExpired(start_of_2029)),
        ]
    );
}
