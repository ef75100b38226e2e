//! One record per request for the access log: fixed in size, so that it crosses to the management side through a ring without
//! touching the heap.

use core::net::SocketAddr;

use super::http1::Version;
use super::reason::Reason;

/// Text cut to `N` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: u16,
    /// Bytes of the original.
    full: u32,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text { bytes: [0; N], len: 0, full: 0 }
    }
}

impl<const N: usize> Text<N> {
    /// Replaces the text.
    pub fn set(&mut self, text: &[u8]) {
        let len = text.len().min(N);
        self.bytes[..len].copy_from_slice(&text[..len]);
        self.len = len as u16;
        self.full = u32::try_from(text.len()).unwrap_or(u32::MAX);
    }

    /// The bytes that fit; from the peer as they are, so not always UTF-8.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether something was cut off.
    pub fn is_cut(&self) -> bool {
        self.full as usize > N
    }
}

/// What happened to one request.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord {
    /// When its first byte was seen, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// From then to the last byte of the response handed to TCP, in nanoseconds.
    pub duration_ns: u64,
    /// From then to the upstream's response head, in nanoseconds; 0 if there was none.
    pub first_byte_ns: u64,
    /// The client.
    pub client: Option<SocketAddr>,
    /// The listener's address.
    pub local: Option<SocketAddr>,
    /// The endpoint that was tried last.
    pub endpoint: Option<SocketAddr>,
    /// Status sent; 499 when the client left first, 0 when nothing could be sent.
    pub status: u16,
    /// Why the response was ours, or the connection was cut.
    pub reason: Reason,
    /// The client's version.
    pub version: Version,
    /// Over TLS.
    pub tls: bool,
    /// On an upstream connection that had served before.
    pub reused: bool,
    /// Became a tunnel.
    pub upgraded: bool,
    /// Times it was sent again.
    pub retries: u8,
    /// Request content, in bytes.
    pub bytes_in: u64,
    /// Response content, in bytes.
    pub bytes_out: u64,
    /// Identifier, as sent upstream.
    pub request_id: Text<64>,
    /// Method as sent.
    pub method: Text<16>,
    /// Authority as sent.
    pub host: Text<64>,
    /// Path and query as sent.
    pub path: Text<192>,
    /// The listener's name.
    pub listener: Text<24>,
    /// The route's name.
    pub route: Text<24>,
    /// The cluster's name.
    pub cluster: Text<24>,
}

impl Default for AccessRecord {
    fn default() -> Self {
        AccessRecord {
            unix_ns: 0,
            duration_ns: 0,
            first_byte_ns: 0,
            client: None,
            local: None,
            endpoint: None,
            status: 0,
            reason: Reason::Ok,
            version: Version::Http11,
            tls: false,
            reused: false,
            upgraded: false,
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
            request_id: Text::default(),
            method: Text::default(),
            host: Text::default(),
            path: Text::default(),
            listener: Text::default(),
            route: Text::default(),
            cluster: Text::default(),
        }
    }
}

const _: () = assert!(size_of::<AccessRecord>() <= 704, "a ring of 4096 stays under 3 MiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_says_so() {
        let mut text = Text::<4>::default();
        text.set(b"abcdef");
        assert_eq!((text.bytes(), text.is_cut()), (&b"abcd"[..], true));
        text.set(b"ab");
        assert_eq!((text.bytes(), text.is_cut()), (&b"ab"[..], false));
    }
}
