//! `[[bridge]]`: ports and VLANs as one Ethernet.

use super::interface::InterfaceKeys;
use crate::config::scalar::{Int, Mac, Name};
use crate::config::slot::{At, List, Optional, Required};
use crate::config::table::table;

table! {
    /// A bridge domain (IEEE 802.1Q): frames go from member to member by their Ethernet addresses, which are learnt. Members may be
    /// ports and VLANs, also with different tags, which are taken off and put on; they have no addresses themselves. With
    /// `addresses` the bridge is an interface as well, by which it is routed. Bridges and their members come and go with a reload.
    ///
    /// There is no spanning tree: its frames, as all to the groups 01:80:c2:00:00:00 to 0f, are dropped (`bridge_reserved`,
    /// IEEE 802.1D §7.12.6), and loops must not be built. The device of a port that
    /// is a member must be promiscuous (`ip link set eth1 promisc on`) to hear frames to other stations.
    pub struct Bridge("[[bridge]]") {
        /// Name in metrics, logs and other tables; unique among interfaces.
        name: Required<Name>;
        /// The members: names of ports and VLANs.
        ports: At<List<Name>> = Vec::new(), "[]";
        /// Stations that are learnt at most; frames to others are flooded. Each costs some 60 bytes per core.
        mac_limit: At<Int<1, 1_000_000>> = Int::new(16_384), "16384";
        /// Seconds after which a silent station is forgotten.
        mac_age_s: At<Int<1, 1_000_000>> = Int::new(300), "300";
        /// Unknown, broadcast and multicast frames per second and core that are flooded, a tenth of it at once, but at least 64; more are
        /// dropped as `bridge_flood_limited`. Without it there is no limit.
        flood_limit: Optional<Int<1, 10_000_000>>;
        /// Stations that are known without being learnt. They are not forgotten, do not count against `mac_limit`, and do not move when
        /// another member sends frames with their address.
        stations: At<List<Station>> = Vec::new(), "[]";
        ..ip: InterfaceKeys;
    }
}

table! {
    /// A station whose place is known.
    pub struct Station("an item of `stations`") {
        /// Its Ethernet address.
        mac: Required<Mac>;
        /// The member it is behind.
        port: Required<Name>;
    }
}
