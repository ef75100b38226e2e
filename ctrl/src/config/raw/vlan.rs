//! `[[vlan]]`: a part of a port's traffic, told by its tags.

use super::interface::InterfaceKeys;
use crate::config::scalar::{Int, Name};
use crate::config::slot::{Optional, Required};
use crate::config::table::{table, words};

table! {
    /// The frames of a port that carry a VLAN tag (IEEE 802.1Q), or two (QinQ), as an interface of their own. Frames without a tag, or
    /// with a tag that says only a priority, are the port's. VLANs come and go with a reload.
    ///
    /// Without `mtu` the interface takes packets as long as the port's, with `outer` 4 bytes less: links carry one tag beyond
    /// their MTU, not two.
    pub struct Vlan("[[vlan]]") {
        /// Name in metrics, logs and other tables; unique among interfaces.
        name: Required<Name>;
        /// The port that carries the frames.
        port: Required<Name>;
        /// VLAN identifier; with `outer`, that of the inner tag.
        id: Required<Int<1, 4094>>;
        /// VLAN identifier of a tag in front of the other (QinQ).
        outer: Optional<Int<1, 4094>>;
        /// EtherType of the tag, or of the outer of two; an inner one is always 802.1Q. `"802.1q"` by default, with `outer`
        /// `"802.1ad"`.
        protocol: Optional<TagProtocol>;
        ..ip: InterfaceKeys;
    }
}

words! {
    /// EtherType of a tag.
    pub enum TagProtocol {
        /// Customer VLAN tag, 0x8100.
        Customer = "802.1q",
        /// Service VLAN tag, 0x88a8.
        Service = "802.1ad",
    }
}
