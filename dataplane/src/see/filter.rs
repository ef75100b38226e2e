//! Which packets somebody wants to see: tests joined by not, and, or, in the order of a calculator without brackets. There is nothing to
//! parse here, nothing to recurse into, and an answer after as many steps as there are operations.

use core::net::IpAddr;

use ipnet::IpNet;

use super::Facts;
use crate::io::MacAddr;

/// Results that wait for an operation to join them.
pub const DEPTH: usize = 64;
/// Operations of a filter.
pub const LENGTH: usize = 512;

/// Which end of a packet's way a test is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
    /// One of the two.
    Either,
}

impl End {
    #[inline]
    fn holds<T>(self, source: T, destination: T, test: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => test(source),
            Self::Destination => test(destination),
            Self::Either => test(source) || test(destination),
        }
    }
}

/// A question that a packet answers with yes or no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Test {
    /// What follows the Ethernet header and its tags.
    EtherType(u16),
    /// The transport protocol.
    Protocol(u8),
    /// An address lies in a prefix.
    Net(End, IpNet),
    /// A station of the link.
    Station(End, MacAddr),
    /// A transport port lies between two, both included.
    Ports(End, u16, u16),
    /// A tag; with this number, if given.
    Vlan(Option<u16>),
    /// Sent to a group of the link, broadcast included.
    Group,
    /// Sent to all stations of the link.
    Broadcast,
    /// An IP fragment.
    Fragment,
    /// This many bytes or more, Ethernet header included.
    AtLeast(usize),
    /// This many bytes or fewer.
    AtMost(usize),
}

impl Test {
    fn holds(&self, facts: &Facts) -> bool {
        let to = facts.stations.map(|(to, _)| to);
        match self {
            Self::EtherType(kind) => facts.ethertype == *kind,
            Self::Protocol(number) => facts.protocol == Some(*number),
            Self::Net(end, net) => facts.addresses.is_some_and(|(source, destination)| {
                end.holds(source, destination, |address: IpAddr| net.contains(&address))
            }),
            Self::Station(end, mac) => {
                facts.stations.is_some_and(|(to, from)| end.holds(from, to, |station| station == *mac))
            }
            Self::Ports(end, first, last) => facts.ports.is_some_and(|(source, destination)| {
                end.holds(source, destination, |port| (*first..=*last).contains(&port))
            }),
            Self::Vlan(number) => number.map_or(!facts.vlans.is_empty(), |number| facts.vlans.contains(&number)),
            Self::Group => to.is_some_and(MacAddr::is_multicast),
            Self::Broadcast => to == Some(MacAddr::BROADCAST),
            Self::Fragment => facts.fragment,
            Self::AtLeast(length) => facts.length >= *length,
            Self::AtMost(length) => facts.length <= *length,
        }
    }
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Puts its answer on the stack.
    Test(Test),
    /// Turns the topmost answer round.
    Not,
    /// Makes one of the two topmost: both.
    And,
    /// Makes one of the two topmost: one or both.
    Or,
}

/// A compiled filter.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    ops: Box<[Op]>,
}

/// A sequence of operations that is no filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterError {
    /// More than [`LENGTH`] operations.
    TooLong,
    /// More than [`DEPTH`] answers wait for each other.
    TooDeep,
    /// An operation lacks an answer to work on, or answers are left over.
    Unbalanced,
}

impl Filter {
    /// Lets everything through.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Of operations in the order in which they are carried out. None at all let everything through.
    ///
    /// # Errors
    /// They do not leave exactly one answer, or are too many.
    pub fn new(ops: Vec<Op>) -> Result<Self, FilterError> {
        if ops.len() > LENGTH {
            return Err(FilterError::TooLong);
        }
        let mut depth = 0usize;
        for op in &ops {
            let (needs, leaves) = match op {
                Op::Test(_) => (0, 1),
                Op::Not => (1, 1),
                Op::And | Op::Or => (2, 1),
            };
            depth = depth.checked_sub(needs).ok_or(FilterError::Unbalanced)? + leaves;
            if depth > DEPTH {
                return Err(FilterError::TooDeep);
            }
        }
        if depth > 1 {
            return Err(FilterError::Unbalanced);
        }
        Ok(Self { ops: ops.into() })
    }

    /// Whether somebody wants to see this packet.
    pub fn passes(&self, facts: &Facts) -> bool {
        // A stack of bits, the topmost the lowest; its height was checked.
        let mut stack = 0u64;
        for op in &self.ops {
            match op {
                Op::Test(test) => stack = stack << 1 | u64::from(test.holds(facts)),
                Op::Not => stack ^= 1,
                Op::And => stack = (stack >> 1) & (stack | !1),
                Op::Or => stack = (stack >> 1) | (stack & 1),
            }
        }
        self.ops.is_empty() || stack & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn test(yes: bool) -> Op {
        // The facts below have 60 bytes.
        Op::Test(if yes { Test::AtLeast(1) } else { Test::AtLeast(100) })
    }

    proptest! {
        #[test]
        fn agrees_with_a_stack_of_booleans(ops in prop::collection::vec(0u8..5, 0..200)) {
            let (mut program, mut stack) = (Vec::new(), Vec::new());
            for op in ops {
                match (op, stack.len()) {
                    (0 | 1, 0..DEPTH) => {
                        program.push(test(op == 1));
                        stack.push(op == 1);
                    }
                    (2, 1..) => {
                        program.push(Op::Not);
                        let top = stack.pop().unwrap();
                        stack.push(!top);
                    }
                    (3 | 4, 2..) => {
                        let (b, a) = (stack.pop().unwrap(), stack.pop().unwrap());
                        program.push(if op == 3 { Op::And } else { Op::Or });
                        stack.push(if op == 3 { a && b } else { a || b });
                    }
                    _ => {}
                }
            }
            while stack.len() > 1 {
                let (b, a) = (stack.pop().unwrap(), stack.pop().unwrap());
                program.push(Op::And);
                stack.push(a && b);
            }
            let facts = Facts { length: 60, ..Facts::default() };
            prop_assert_eq!(Filter::new(program).unwrap().passes(&facts), stack.pop().unwrap_or(true));
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let wrong = |ops: Vec<Op>| Filter::new(ops).unwrap_err();
        assert_eq!(wrong(vec![Op::Not]), FilterError::Unbalanced);
        assert_eq!(wrong(vec![test(true), Op::And]), FilterError::Unbalanced);
        assert_eq!(wrong(vec![test(true); 2]), FilterError::Unbalanced);
        assert_eq!(wrong(vec![test(true); DEPTH + 1]), FilterError::TooDeep);
        assert_eq!(wrong([vec![test(true)], vec![Op::Not; LENGTH]].concat()), FilterError::TooLong);
    }

    #[test]
    fn each_test_asks_for_what_it_says() {
        let facts = Facts {
            length: 60,
            stations: Some((MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]))),
            vlans: [7].into_iter().collect(),
            ethertype: 0x0800,
            addresses: Some(([10, 1, 0, 1].into(), [10, 2, 0, 1].into())),
            protocol: Some(17),
            ports: Some((1024, 53)),
            fragment: false,
        };
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let own = MacAddr([2, 0, 0, 0, 0, 2]);
        let yes = [
            Test::EtherType(0x0800),
            Test::Protocol(17),
            Test::Net(End::Either, net("10.2.0.0/16")),
            Test::Net(End::Source, net("10.1.0.0/16")),
            Test::Net(End::Destination, net("10.2.0.1/32")),
            Test::Station(End::Source, own),
            Test::Ports(End::Destination, 50, 53),
            Test::Ports(End::Either, 1024, 1024),
            Test::Vlan(None),
            Test::Vlan(Some(7)),
            Test::Group,
            Test::AtLeast(60),
            Test::AtMost(60),
        ];
        let no = [
            Test::EtherType(0x86dd),
            Test::Protocol(6),
            Test::Net(End::Destination, net("10.1.0.0/16")),
            Test::Net(End::Either, net("fd00::/8")),
            Test::Station(End::Destination, own),
            Test::Ports(End::Source, 53, 53),
            Test::Vlan(Some(8)),
            Test::Broadcast,
            Test::Fragment,
            Test::AtLeast(61),
            Test::AtMost(59),
        ];
        for (tests, expected) in [(&yes[..], true), (&no[..], false)] {
            for test in tests {
                let filter = Filter::new(vec![Op::Test(test.clone())]).unwrap();
                assert_eq!(filter.passes(&facts), expected, "{test:?}");
                // A packet of which nothing is known has none of these.
                if !matches!(test, Test::AtMost(_)) {
                    assert!(!filter.passes(&Facts::default()), "{test:?}");
                }
            }
        }
    }
}
