//! From words to operations, by recursive descent; what waits on the stack of the core is what waits here.

use std::net::IpAddr;

use ipnet::IpNet;
use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use tidegate_dataplane::see::filter::{DEPTH, LENGTH};
use tidegate_dataplane::see::{End, Filter, Op, Test};

use super::words::{Word, words};
use super::{FilterError, Wrong};
use crate::prefix;

/// Protocols by name.
const PROTOCOLS: [(&str, u8); 12] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmp6", 58),
    ("sctp", 132),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("vrrp", 112),
    ("pim", 103),
];
/// EtherTypes by name.
const NETWORKS: [(&str, u16); 3] = [("ip", ETHERTYPE_IPV4), ("ip6", ETHERTYPE_IPV6), ("arp", ETHERTYPE_ARP)];
/// All other words that can begin a test.
const OTHERS: [&str; 16] = [
    "host",
    "net",
    "src",
    "dst",
    "port",
    "portrange",
    "proto",
    "ether",
    "vlan",
    "broadcast",
    "multicast",
    "fragment",
    "less",
    "greater",
    "not",
    "and",
];

/// Reads a filter; an empty text lets everything through.
///
/// # Errors
/// Where the text is not understood, and what to write instead.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser { text, words: words(text), next: 0, ops: Vec::new(), waiting: 0, depth: 0 };
    if !parser.words.is_empty() {
        parser.either()?;
        if let Some(word) = parser.peek() {
            let what = if word.text == ")" { Wrong::Bracket } else { Wrong::Joint };
            return Err(parser.wrong(word.at, what));
        }
    }
    let all = (0, text.len());
    Filter::new(parser.ops).map_err(|_| FilterError { text: text.to_owned(), at: all, what: Wrong::TooLong })
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Word<'a>>,
    next: usize,
    ops: Vec<Op>,
    /// Answers on the core's stack.
    waiting: usize,
    /// Brackets that are open.
    depth: usize,
}

type Parsed<T = ()> = Result<T, FilterError>;

impl<'a> Parser<'a> {
    fn wrong(&self, at: (usize, usize), what: Wrong) -> FilterError {
        FilterError { text: self.text.to_owned(), at, what }
    }

    fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.next).copied()
    }

    fn peeks(&self, texts: &[&str]) -> bool {
        self.peek().is_some_and(|word| texts.contains(&word.text))
    }

    /// The next word, if it is one of these.
    fn takes(&mut self, texts: &[&str]) -> Option<Word<'a>> {
        let word = self.peek().filter(|word| texts.contains(&word.text))?;
        self.next += 1;
        Some(word)
    }

    /// The next word, whatever it is.
    fn take(&mut self, expected: &'static str) -> Parsed<Word<'a>> {
        let end = self.text.trim_end().len();
        let word = self.peek().ok_or_else(|| self.wrong((end, end), Wrong::Ends { expected }))?;
        self.next += 1;
        Ok(word)
    }

    fn push(&mut self, op: Op, at: (usize, usize)) -> Parsed {
        self.waiting = match op {
            Op::Test(_) => self.waiting + 1,
            Op::Not => self.waiting,
            Op::And | Op::Or => self.waiting - 1,
        };
        if self.waiting > DEPTH || self.ops.len() >= LENGTH {
            return Err(self.wrong(at, Wrong::TooLong));
        }
        self.ops.push(op);
        Ok(())
    }

    fn either(&mut self) -> Parsed {
        self.both()?;
        while let Some(word) = self.takes(&["or", "||"]) {
            self.both()?;
            self.push(Op::Or, word.at)?;
        }
        Ok(())
    }

    fn both(&mut self) -> Parsed {
        self.term()?;
        while let Some(word) = self.takes(&["and", "&&"]) {
            self.term()?;
            self.push(Op::And, word.at)?;
        }
        Ok(())
    }

    fn term(&mut self) -> Parsed {
        let mut not = None;
        while let Some(word) = self.takes(&["not", "!"]) {
            // Two of them are none.
            not = if not.is_some() { None } else { Some(word.at) };
        }
        if let Some(open) = self.takes(&["("]) {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(self.wrong(open.at, Wrong::TooLong));
            }
            self.either()?;
            self.depth -= 1;
            if self.takes(&[")"]).is_none() {
                return Err(match self.peek() {
                    Some(word) => self.wrong(word.at, Wrong::Joint),
                    None => self.wrong(open.at, Wrong::Bracket),
                });
            }
        } else {
            self.test()?;
        }
        not.map_or(Ok(()), |at| self.push(Op::Not, at))
    }

    fn test(&mut self) -> Parsed {
        let word = self.take("a test, such as `host 10.0.0.1`,")?;
        let test = match word.text {
            "src" => return self.ended(End::Source),
            "dst" => return self.ended(End::Destination),
            "host" => Test::Net(End::Either, self.host()?),
            "net" => Test::Net(End::Either, self.net()?),
            "port" | "portrange" => self.ports(word.text, End::Either)?,
            "proto" => Test::Protocol(self.protocol()?),
            "ether" => self.station()?,
            "vlan" => self.vlan()?,
            "broadcast" => Test::Broadcast,
            "multicast" => Test::Group,
            "fragment" => Test::Fragment,
            "less" => Test::AtMost(self.number("a number of bytes", 65_536)? as usize),
            "greater" => Test::AtLeast(self.number("a number of bytes", 65_536)? as usize),
            _ => return self.named(word),
        };
        self.push(Op::Test(test), word.at)
    }

    /// A protocol, perhaps with ports, or an address without a word before it.
    fn named(&mut self, word: Word<'a>) -> Parsed {
        if let Some((_, kind)) = NETWORKS.iter().find(|(name, _)| *name == word.text) {
            return self.push(Op::Test(Test::EtherType(*kind)), word.at);
        }
        if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == word.text) {
            self.push(Op::Test(Test::Protocol(*number)), word.at)?;
            let end = match (self.takes(&["src"]), self.peeks(&["dst"])) {
                (Some(_), _) => End::Source,
                (None, true) => {
                    self.next += 1;
                    End::Destination
                }
                (None, false) => End::Either,
            };
            if let Some(kind) = self.takes(&["port", "portrange"]) {
                let ports = self.ports(kind.text, end)?;
                self.push(Op::Test(ports), kind.at)?;
                return self.push(Op::And, kind.at);
            }
            // `tcp src 10.0.0.1` is `tcp and src 10.0.0.1`.
            if end != End::Either {
                self.ended(end)?;
                return self.push(Op::And, word.at);
            }
            return Ok(());
        }
        let net = self.prefix(word, || unknown(word.text))?;
        self.push(Op::Test(Test::Net(End::Either, net)), word.at)
    }

    /// After `src` or `dst`.
    fn ended(&mut self, end: End) -> Parsed {
        let expected = "`host`, `net`, `port` or an address";
        let word = self.take(expected)?;
        let test = match word.text {
            "host" => Test::Net(end, self.host()?),
            "net" => Test::Net(end, self.net()?),
            "port" | "portrange" => self.ports(word.text, end)?,
            _ => Test::Net(end, self.prefix(word, || Wrong::Expected { expected })?),
        };
        self.push(Op::Test(test), word.at)
    }

    fn host(&mut self) -> Parsed<IpNet> {
        let expected = "an IPv4 or IPv6 address";
        let word = self.take(expected)?;
        let address: Option<IpAddr> = word.text.parse().ok();
        address.map(IpNet::from).ok_or_else(|| self.wrong(word.at, Wrong::Expected { expected }))
    }

    fn net(&mut self) -> Parsed<IpNet> {
        let expected = "a prefix, such as 10.0.0.0/8 or fd00::/8,";
        let word = self.take(expected)?;
        self.prefix(word, || Wrong::Expected { expected })
    }

    /// A prefix, or an address as the prefix of itself; if the word is neither, that is wrong which the caller says.
    fn prefix(&self, word: Word<'a>, neither: impl Fn() -> Wrong) -> Parsed<IpNet> {
        let net = prefix::read(word.text).ok_or_else(|| self.wrong(word.at, neither()))?;
        net.map_err(|bits| self.wrong(word.at, Wrong::HostBits(bits)))
    }

    fn ports(&mut self, kind: &str, end: End) -> Parsed<Test> {
        if kind == "port" {
            let port = self.number("a port number", u64::from(u16::MAX))? as u16;
            return Ok(Test::Ports(end, port, port));
        }
        let expected = "a range of ports, such as 8000-8080,";
        let word = self.take(expected)?;
        let ends = word.text.split_once('-').map(|(first, last)| (first.parse::<u16>(), last.parse::<u16>()));
        match ends {
            Some((Ok(first), Ok(last))) if first <= last => Ok(Test::Ports(end, first, last)),
            Some((Ok(_), Ok(_))) => Err(self.wrong(word.at, Wrong::Range)),
            _ => Err(self.wrong(word.at, Wrong::Expected { expected })),
        }
    }

    fn protocol(&mut self) -> Parsed<u8> {
        if let Some(word) = self.peek()
            && let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == word.text)
        {
            self.next += 1;
            return Ok(*number);
        }
        Ok(self.number("a protocol's number or name", u64::from(u8::MAX))? as u8)
    }

    fn station(&mut self) -> Parsed<Test> {
        let expected = "`host`, `src`, `dst` or `proto`";
        let word = self.take(expected)?;
        let end = match word.text {
            "proto" => {
                let named = self.peek().and_then(|word| NETWORKS.iter().find(|(name, _)| *name == word.text));
                if let Some((_, kind)) = named {
                    self.next += 1;
                    return Ok(Test::EtherType(*kind));
                }
                return Ok(Test::EtherType(self.number("an EtherType", u64::from(u16::MAX))? as u16));
            }
            "host" => End::Either,
            "src" => End::Source,
            "dst" => End::Destination,
            _ => return Err(self.wrong(word.at, Wrong::Expected { expected })),
        };
        if end != End::Either {
            self.takes(&["host"]);
        }
        let expected = "a station, such as 02:00:00:00:00:01,";
        let word = self.take(expected)?;
        let mac = station(word.text).ok_or_else(|| self.wrong(word.at, Wrong::Expected { expected }))?;
        Ok(Test::Station(end, mac))
    }

    fn vlan(&mut self) -> Parsed<Test> {
        let numbered = self.peek().is_some_and(|word| word.text.starts_with(|c: char| c.is_ascii_digit()));
        let number = numbered.then(|| self.number("a VLAN's number", 4094)).transpose()?;
        Ok(Test::Vlan(number.map(|number| number as u16)))
    }

    fn number(&mut self, expected: &'static str, most: u64) -> Parsed<u64> {
        let word = self.take(expected)?;
        let number = match word.text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.text.parse(),
        };
        match number {
            Ok(number) if number <= most => Ok(number),
            Ok(_) => Err(self.wrong(word.at, Wrong::Number { most })),
            Err(_) => Err(self.wrong(word.at, Wrong::Expected { expected })),
        }
    }
}

/// A hardware address.
pub(crate) fn station(text: &str) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let mut parts = text.split([':', '-']);
    for octet in &mut octets {
        *octet = parts.next().filter(|part| part.len() <= 2).and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    parts.next().is_none().then_some(MacAddr(octets))
}

fn unknown(word: &str) -> Wrong {
    let protocols = PROTOCOLS.iter().map(|(name, _)| *name);
    let known = protocols.chain(NETWORKS.iter().map(|(name, _)| *name)).chain(OTHERS);
    let near = known.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    let near = near.filter(|near| strsim::jaro_winkler(word, near) > 0.75);
    Wrong::Unknown { word: word.to_owned(), near }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_dataplane::see::Facts;

    use super::*;

    /// From 10.1.0.1:1024 to 10.2.0.1:80, in VLAN 7.
    fn facts(protocol: u8) -> Facts {
        Facts {
            length: 100,
            stations: Some((MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))),
            vlans: [7].into_iter().collect(),
            ethertype: 0x0800,
            addresses: Some(([10, 1, 0, 1].into(), [10, 2, 0, 1].into())),
            protocol: Some(protocol),
            ports: Some((1024, 80)),
            fragment: false,
        }
    }

    #[test]
    fn filters_mean_what_they_say() {
        let cases = [
            ("", true),
            ("host 10.1.0.1", true),
            ("src host 10.2.0.1", false),
            ("dst 10.2.0.0/16", true),
            ("10.1.0.1 and 10.2.0.1", true),
            ("net fd00::/8", false),
            ("net 10.1.0.1/32", true),
            ("net 0.0.0.0/0", true),
            ("tcp port 80", true),
            ("udp port 80", false),
            ("tcp dst port 80 and not src portrange 2000-3000", true),
            ("tcp src 10.1.0.1", true),
            ("tcp dst 10.1.0.1", false),
            ("port 443 or port 80", true),
            ("udp or tcp and port 81", false),
            ("(udp or tcp) and !port 81", true),
            ("not not tcp", true),
            ("! ( udp || icmp ) && vlan", true),
            ("vlan 8", false),
            ("vlan 7 and ip and proto 6 and ether proto ip", true),
            ("ether src 02:00:00:00:00:02 and ether dst host 2-0-0-0-0-1", true),
            ("ether host 02:00:00:00:00:03", false),
            ("less 99", false),
            ("greater 100 and less 100", true),
            ("broadcast or multicast or fragment", false),
            ("ether proto 0x800", true),
            ("proto udp", false),
        ];
        for (text, expected) in cases {
            let filter = parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(filter.passes(&facts(6)), expected, "{text}");
        }
    }

    #[test]
    fn errors_say_where_and_what_instead() {
        let cases = [
            ("host 10.0.0", "an IPv4 or IPv6 address must stand here", (5, 11)),
            ("hots 10.0.0.1", "is `host` meant?", (0, 4)),
            ("tcp and", "it ends where a test", (7, 7)),
            ("(tcp or udp", "no partner", (0, 1)),
            ("tcp)", "no partner", (3, 4)),
            ("tcp udp", "there must be `and` or `or`", (4, 7)),
            ("(tcp udp)", "there must be `and` or `or`", (5, 8)),
            ("port 70000", "65535 at most", (5, 10)),
            ("port http", "a port number must stand here", (5, 9)),
            ("portrange 9-1", "ends before it begins", (10, 13)),
            ("src foo", "`host`, `net`, `port` or an address must stand here", (4, 7)),
            ("ether host 1:2:3", "a station", (11, 16)),
            ("vlan 5000", "4094 at most", (5, 9)),
            ("net 10.0.0.0/33", "a prefix", (4, 15)),
            ("net 10.0.0.1/8", "bits set behind its 8 bit prefix: write 10.0.0.0/8, or /32 for", (4, 14)),
            ("src net fd00::1/64", "write fd00::/64, or /128 for this address alone", (8, 18)),
            ("tcp dst 10.0.0.1/24", "write 10.0.0.0/24,", (8, 19)),
            ("10.0.0.1/24 and tcp", "write 10.0.0.0/24,", (0, 11)),
            ("§ or tcp", "means nothing here; write e.g.", (0, 2)),
        ];
        for (text, expected, at) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert_eq!(error.at, at, "{text}");
        }
        let shown = parse("tcp port 80 ande 1").expect_err("a slip").to_string();
        assert!(shown.ends_with("    tcp port 80 ande 1\n                ^^^^"), "{shown}");
    }

    #[test]
    fn a_filter_is_bounded() {
        let deep = format!("{}tcp{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(parse(&deep).expect_err("too deep").what, Wrong::TooLong);
        let long = vec!["tcp"; 400].join(" or ");
        assert_eq!(parse(&long).expect_err("too long").what, Wrong::TooLong);
        assert!(parse(&vec!["tcp"; 200].join(" or ")).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_an_error_within_it(text in "[a-z0-9.:/() !&|§-]{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.at.0 <= error.at.1 && error.at.1 <= text.len());
                prop_assert!(error.to_string().lines().count() >= 3);
            }
        }

        #[test]
        fn words_of_filters_in_any_order_do_no_harm(
            words in prop::collection::vec(prop_oneof![
                Just("tcp"), Just("and"), Just("or"), Just("not"), Just("("), Just(")"), Just("host"), Just("10.0.0.1"),
                Just("src"), Just("port"), Just("80"), Just("vlan"), Just("ether"), Just("net"), Just("10.0.0.0/8"),
            ], 0..40)
        ) {
            if let Ok(filter) = parse(&words.join(" ")) {
                filter.passes(&facts(6));
            }
        }
    }
}
