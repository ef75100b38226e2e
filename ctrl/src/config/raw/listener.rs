//! `[[listener]]` and `[listener.tls]`: where clients connect.

use std::net::SocketAddr;

use crate::config::scalar::{FilePath, Int, Name, Prefix};
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::{table, words};

table! {
    /// An address on which connections are accepted.
    pub struct Listener("[[listener]]") {
        /// Name in metrics, logs and routes; unique.
        name: Required<Name>;
        /// Address and port. The address must be one of an interface of the main routing domain (port, VLAN, bridge or loopback); `0.0.0.0` and
        /// `[::]` stand for all of them of that family.
        address: Required<SocketAddr>;
        /// What is spoken.
        protocol: At<Protocol> = Protocol::Http, "\"http\"";
        /// Seconds without any progress: between requests, while content moves, in a tunnel, and while a backend thinks (then 504).
        /// An idle connection costs some 6 KB, with TLS some 5 KB more.
        idle_timeout_s: At<Int<1, 86_400>> = Int::new(60), "60";
        /// Seconds from the first byte of a request until its head must be complete; else 408. This is what stops clients
        /// that send a byte now and then.
        header_timeout_s: At<Int<1, 3600>> = Int::new(10), "10";
        /// Seconds from a complete request head to the end of the response; 0 is no limit. Routes may set their own.
        request_timeout_s: At<Int<0, 86_400>> = Int::new(0), "0";
        /// Most bytes of a request's head; more is refused with 431. It is also the most memory a head can hold.
        max_head_bytes: At<Int<1024, 65_536>> = Int::new(16_384), "16384";
        /// Most KiB of a request's content; more is refused with 413. 0 is no limit: content passes through in constant memory.
        max_body_kib: At<Int<0, 1_099_511_627_776>> = Int::new(0), "0";
        /// Milliseconds for which, after an answer that leaves content unread, what still comes in is discarded, so that the
        /// client can read the answer before the connection ends.
        linger_ms: At<Int<0, 60_000>> = Int::new(2000), "2000";
        /// Least average rate in bytes per second at which a client must send content and read answers, once the idle timeout
        /// has passed; 0 is no limit. It bounds what slow clients can hold.
        min_rate_bytes_s: At<Int<0, 1_000_000_000>> = Int::new(240), "240";
        /// Fields that tell backends about the client. What the client itself wrote there is replaced unless it is one of
        /// `trusted_peers`.
        forwarded: At<List<ForwardedField>> = vec![
            At::fallback(ForwardedField::XForwarded),
            At::fallback(ForwardedField::Forwarded),
            At::fallback(ForwardedField::RequestId),
        ], "[\"x_forwarded\", \"forwarded\", \"request_id\"]";
        /// Clients, usually other proxies, whose own forwarding fields are believed and added to.
        trusted_peers: At<List<Prefix>> = Vec::new(), "[]";
        /// Let `Upgrade: websocket` turn a connection into a tunnel (RFC 6455).
        websocket: At<bool> = true, "true";
        /// TLS. Without it the listener speaks plain text.
        tls: Optional<ListenerTls>;
    }
}

words! {
    /// What is spoken on a listener.
    pub enum Protocol {
        /// HTTP/1.1, inside TLS if the listener has `tls`.
        Http = "http",
    }
}

words! {
    /// A field that tells backends about the client.
    pub enum ForwardedField {
        /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
        /// `Via` (RFC 9110 §7.6.3), in both directions.
        Via = "via",
        /// `X-Request-Id`; it is also in the access log.
        RequestId = "request_id",
    }
}

table! {
    /// TLS towards clients. Certificates are read again at each reload; connections keep what they began with.
    pub struct ListenerTls("[listener.tls]") {
        /// Certificate chains with their keys. The client's server name picks the one whose certificate names it; the first
        /// is for all others.
        certificates: Required<List<CertifiedKey>>;
        /// Whether clients must show a certificate.
        client_auth: At<ClientAuth> = ClientAuth::None, "\"none\"";
        /// PEM file with the authorities that may sign client certificates.
        client_ca: Optional<FilePath>;
        /// PEM files with revocation lists. With any, every client certificate must be covered by one.
        client_crl: At<List<FilePath>> = Vec::new(), "[]";
        /// Oldest version spoken.
        min_version: At<TlsVersion> = TlsVersion::V12, "\"1.2\"";
        /// Protocols offered in the handshake, best first.
        alpn: At<List<Alpn>> = Vec::new(), "[]";
        /// Let clients resume without a full handshake. Saves the private-key operation of a returning client; keys change
        /// every 6 hours and survive a reload.
        session_tickets: At<bool> = true, "true";
    }
}

table! {
    /// A certificate chain and its key.
    pub struct CertifiedKey("an item of `certificates`") {
        /// PEM file with the certificate and the intermediates that lead to its authority, in this order.
        certificate: Required<FilePath>;
        /// PEM file with the private key (PKCS#8, SEC1 or PKCS#1).
        key: Required<FilePath>;
    }
}

words! {
    /// Whether clients must show a certificate.
    pub enum ClientAuth {
        /// They are not asked.
        None = "none",
        /// They are asked; one that is shown must be valid.
        Optional = "optional",
        /// No handshake without a valid one.
        Required = "required",
    }
}

words! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2 (RFC 5246), with the cipher suites of RFC 9325 only.
        V12 = "1.2",
        /// TLS 1.3 (RFC 8446).
        V13 = "1.3",
    }
}

words! {
    /// A protocol name in the TLS handshake (RFC 7301).
    pub enum Alpn {
        /// HTTP/1.1.
        Http11 = "http/1.1",
    }
}
