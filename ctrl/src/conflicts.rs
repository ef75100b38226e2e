//! Other stations that use our addresses: what the cores have reported, kept until the address is no longer ours.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use tidegate_dataplane::io::MacAddr;
use tidegate_dataplane::l2::Conflict;

/// A conflict about one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The other station.
    pub station: MacAddr,
    /// Reports; a core reports about one a second.
    pub reports: u64,
    /// When the last one came.
    pub last: SystemTime,
}

/// Conflicts by the number of the interface and the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disputes(BTreeMap<(usize, IpAddr), Dispute>);

impl Disputes {
    /// A core reports a conflict.
    pub fn note(&mut self, conflict: &Conflict, now: SystemTime) {
        let key = (conflict.interface.index(), conflict.address);
        let dispute = self.0.entry(key).or_insert(Dispute { station: conflict.mac, reports: 0, last: now });
        *dispute = Dispute { station: conflict.mac, reports: dispute.reports + 1, last: now };
    }

    /// Forgets what is about addresses that are not ours any more: there are never more disputes than addresses.
    pub fn keep(&mut self, ours: impl Fn(usize, IpAddr) -> bool) {
        self.0.retain(|(interface, address), _| ours(*interface, *address));
    }

    /// The conflict about an address.
    pub fn about(&self, interface: usize, address: IpAddr) -> Option<&Dispute> {
        self.0.get(&(interface, address))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_dataplane::meta::InterfaceId;

    use super::*;

    #[test]
    fn a_dispute_is_remembered_until_the_address_goes() {
        let (address, now) = (IpAddr::from([10, 0, 0, 1]), SystemTime::UNIX_EPOCH);
        let conflict = |last| Conflict { interface: InterfaceId(2), address, mac: MacAddr([2, 0, 0, 0, 0, last]) };
        let mut disputes = Disputes::default();
        disputes.note(&conflict(1), now);
        disputes.note(&conflict(9), now);
        let dispute = disputes.about(2, address).expect("known");
        assert_eq!((dispute.reports, dispute.station), (2, MacAddr([2, 0, 0, 0, 0, 9])));
        assert_eq!(disputes.about(1, address), None);
        disputes.keep(|interface, _| interface != 2);
        assert_eq!(disputes, Disputes::default());
    }
}
