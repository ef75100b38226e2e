//! Values of the file that are more than a string or a number: limited numbers, addresses, names, paths.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use tidegate_dataplane::l3::is_host;
use toml::de::DeValue;

use super::decode::{Decode, Decoder, Mistake, Node, Text, Wanted};
use crate::diagnostic::{Code, Diagnostic, alternatives, nearest};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Int<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    /// A number written in the source; outside the limits it does not compile when used in a `const`, else it is clamped.
    pub const fn new(value: i64) -> Self {
        assert!(MIN <= value && value <= MAX, "outside the limits");
        Self(value)
    }

    /// As the type of the place it goes to.
    ///
    /// The limits of the type make the conversion exact; a type too small for them saturates.
    pub fn to<T: TryFrom<i64> + Saturate>(self) -> T {
        T::try_from(self.0).unwrap_or(T::MAX)
    }
}

/// The greatest value of an unsigned type.
pub trait Saturate {
    /// The greatest value.
    const MAX: Self;
}
macro_rules! saturate { ($($t:ident),*) => {$(impl Saturate for $t { const MAX: Self = $t::MAX; })*} }
saturate!(u8, u16, u32, u64, usize);

impl<const MIN: i64, const MAX: i64> Default for Int<MIN, MAX> {
    fn default() -> Self {
        Self(MIN)
    }
}

impl<const MIN: i64, const MAX: i64> Decode for Int<MIN, MAX> {
    fn decode(node: &Node<'_>, cx: &mut Decoder) -> Option<Self> {
        let DeValue::Integer(number) = node.get_ref() else {
            cx.wrong_type(node, &format!("a whole number from {MIN} to {MAX}"), Wanted::Integer);
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let inside = value.filter(|value| (MIN..=MAX).contains(value));
        if inside.is_none() {
            let message = format!("`{}` must be from {MIN} to {MAX}", cx.key());
            let near = if value.is_some_and(|value| value < MIN) { ("least", MIN) } else { ("greatest", MAX) };
            cx.push(
                Diagnostic::error(Code::OutOfRange, node.span().into(), message)
                    .help(format!("the {} is {}", near.0, near.1)),
            );
        }
        inside.map(Self)
    }
}

impl<const MIN: i64, const MAX: i64> JsonSchema for Int<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Int_{MIN}_{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Text for Mac {
    const FORM: &'static str = "an Ethernet address such as \"02:00:00:00:00:01\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(Mistake::default)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| Mistake::default())?;
        }
        if parts.next().is_some() {
            return Err(Mistake::default());
        }
        if octets[0] & 1 != 0 {
            return Err(because("is a group address; a port or neighbour has an individual one").with_help(format!(
                "clear the lowest bit of the first octet: `{}`",
                Self([octets[0] & !1, octets[1], octets[2], octets[3], octets[4], octets[5]])
            )));
        }
        if octets == [0; 6] {
            return Err(because("is nobody's address"));
        }
        Ok(Self(octets))
    }
}

/// An address with the length of its subnet's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress(pub IpNet);

impl Serialize for InterfaceAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Text for InterfaceAddress {
    const FORM: &'static str = "an address with its prefix length, such as \"10.0.1.1/24\" or \"fd00::1/64\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        let net: IpNet = match text.parse() {
            Ok(net) => net,
            Err(_) => return Err(prefix_mistake(text, if text.contains(':') { 64 } else { 24 })),
        };
        let address = net.addr();
        if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            let of_its_own =
                because("cannot be given: an interface makes its link-local address from its hardware address");
            return Err(of_its_own.with_help("leave it out"));
        }
        if !is_host(address) {
            return Err(because("cannot be a port's address: it is unspecified, loopback, multicast or reserved"));
        }
        let (all, len) = match net {
            IpNet::V4(v4) => (v4.prefix_len() < 31 && v4.broadcast().is_broadcast(), 24),
            IpNet::V6(v6) => (v6.prefix_len() == 0, 64),
        };
        if all {
            let wide = because("would be in a subnet of all addresses to the last");
            return Err(wide.with_help(format!("write how long the subnet's prefix is, such as `{address}/{len}`")));
        }
        if let IpNet::V4(v4) = net
            && v4.prefix_len() < 31
            && (v4.addr() == v4.network() || v4.addr() == v4.broadcast())
        {
            return Err(because("is the address of the subnet itself or its broadcast, not of a host").with_help(
                v4.hosts()
                    .next()
                    .map_or_else(String::new, |host| format!("the first host is `{host}/{}`", v4.prefix_len())),
            ));
        }
        Ok(Self(net))
    }
}

/// A prefix with no bit set behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(pub IpNet);

impl Text for Prefix {
    const FORM: &'static str = "a prefix such as \"10.9.0.0/16\" or \"fd00::/8\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        if text == "default" {
            return Err(Mistake::default().with_help("write `\"0.0.0.0/0\"` for IPv4, `\"::/0\"` for IPv6"));
        }
        let net: IpNet = text.parse().map_err(|_| prefix_mistake(text, if text.contains(':') { 128 } else { 32 }))?;
        if net.addr() == net.network() {
            Ok(Self(net))
        } else {
            Err(because(&format!("has bits set behind its {} bit prefix", net.prefix_len())).with_help(format!(
                "write `\"{}\"`, or `/{}` for this address alone",
                net.trunc(),
                net.max_prefix_len()
            )))
        }
    }
}

impl Text for IpAddr {
    const FORM: &'static str = "an IP address such as \"10.0.1.254\" or \"fd00::1\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        text.parse().map_err(|_| match text.split_once('/').map(|(address, _)| address.parse::<Self>()) {
            Some(Ok(address)) => Mistake::default().with_help(format!("leave out the prefix length: `\"{address}\"`")),
            _ => Mistake::default(),
        })
    }
}

impl Text for Ipv6Addr {
    const FORM: &'static str = "an IPv6 address such as \"fd00::1\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        match IpAddr::parse(text)? {
            IpAddr::V6(address) => Ok(address),
            IpAddr::V4(_) => Err(because("is an IPv4 address")),
        }
    }
}

impl Text for SocketAddr {
    const FORM: &'static str = "an address with a port, such as \"10.0.1.1:443\" or \"[fd00::1]:443\"";
    fn parse(text: &str) -> Result<Self, Mistake> {
        let address: Self = text.parse().map_err(|_| socket_mistake(text))?;
        if address.port() == 0 {
            Err(because("has port 0").with_help("ports are from 1 to 65535"))
        } else {
            Ok(address)
        }
    }
}

fn socket_mistake(text: &str) -> Mistake {
    if let Some((scheme, rest)) = text.split_once("://") {
        return url_mistake(scheme, rest);
    }
    if let Some(meant) = unbracketed(text) {
        return because("has no brackets round its address, so that the port cannot be told from it").with_help(
            match text.parse::<Ipv6Addr>() {
                Ok(whole) => format!("write `\"{meant}\"`, or `\"[{whole}]:443\"` if all of it is the address"),
                Err(_) => format!("write `\"{meant}\"`"),
            },
        );
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return because("has no port").with_help(format!("write `\"{}\"`", SocketAddr::new(address, 443)));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Mistake::default() };
    if port.parse::<u16>().is_err() && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        return because(&format!("has port {port}")).with_help("ports are from 1 to 65535");
    }
    if host.starts_with(|c: char| c.is_ascii_alphabetic()) || host.is_empty() || host == "*" {
        return Mistake::default().with_help("names are not resolved; write the IP address");
    }
    Mistake::default()
}

/// A URL, of which only the middle belongs here.
fn url_mistake(scheme: &str, rest: &str) -> Mistake {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let address = authority.trim_matches(['[', ']']).parse().map(|address: IpAddr| SocketAddr::new(address, port));
    let instead = match authority.parse().or(address) {
        Ok(address) => format!("write `\"{address}\"`"),
        Err(_) => "write an IP address with a port, such as `\"10.0.1.1:80\"`; names are not resolved".to_owned(),
    };
    because("is a URL; here an address with a port is wanted").with_help(match port {
        443 => format!("{instead}; TLS is a matter of the table's `tls`"),
        _ => instead,
    })
}

/// `fd00::1:80` as `[fd00::1]:80`. It is an address without a port as well; but where one is wanted, its last group is most likely
/// that: a number as ports are, after groups that make up an address.
fn unbracketed(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let plain = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
    Some(SocketAddr::new(address.into(), port.parse().ok().filter(|_| plain)?))
}

fn prefix_mistake(text: &str, length: u8) -> Mistake {
    if let Ok(address) = text.parse::<IpAddr>() {
        return because("has no prefix length").with_help(format!("write `\"{address}/{length}\"`"));
    }
    match text.split_once('/').and_then(|(address, length)| Some((address.parse::<IpAddr>().ok()?, length))) {
        Some((address, _)) => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            because(&format!("has a bad prefix length: 0 to {most}")).with_help(format!(
                "`/{most}` is this address alone, a subnet is shorter: `\"{address}/{}\"`",
                match most {
                    32 => 24,
                    _ => 64,
                }
            ))
        }
        None => Mistake::default(),
    }
}

/// A name that other tables refer to, and that appears in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Name(pub String);

impl Text for Name {
    const FORM: &'static str = "a name of up to 63 letters, digits, `-`, `_` and `.`";
    fn parse(text: &str) -> Result<Self, Mistake> {
        let fits = !text.is_empty() && text.len() <= 63;
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits && clean { Ok(Self(text.to_owned())) } else { Err(Mistake::default()) }
    }
}

/// The path of a file, relative to the directory of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct FilePath(pub PathBuf);

impl Text for FilePath {
    const FORM: &'static str = "the path of a file";
    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.contains('\0') { Err(Mistake::default()) } else { Ok(Self(PathBuf::from(text))) }
    }
}

/// What is wrong with a word, given those allowed.
pub fn not_a_word(text: &str, words: &[&str]) -> Mistake {
    let allowed = format!("allowed: {}", alternatives(words.iter().copied()));
    Mistake {
        because: Some("is not known here".to_owned()),
        help: Some(match nearest(text, words.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`? ({allowed})"),
            None => allowed,
        }),
    }
}

/// A mistake with its reason, completing "`text` …".
pub fn because(reason: &str) -> Mistake {
    Mistake { because: Some(reason.to_owned()), help: None }
}

impl Mistake {
    /// Adds what to write instead; an empty text adds nothing.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }
}

macro_rules! text_schema {
    ($($type:ty),*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($type).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "title": <$type as Text>::FORM })
            }
        }
    )*};
}
text_schema!(Mac, InterfaceAddress, Prefix, Name, FilePath);
