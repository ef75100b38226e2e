//! What a router must do, packet in and packet out. Packets are built and read by an independent library.

pub(crate) mod router; // the stages wired as the worker does
mod packets; // packets to send, and how to read what comes back
mod forwarding; // what a router does with packets in transit
mod reverse_path; // whether sources lie where packets come from
mod local; // ICMP and what is for the router itself
mod join; // fragments for the router itself
mod anycast; // the address that every router of a prefix has
mod neighbors; // ARP and the neighbour table
mod discovery; // ND
mod states; // of a neighbour, one after the other
mod listener; // the groups we listen to
mod presence; // our own addresses on their links, and what hosts are told
mod consistency; // with what other routers tell them
mod errors; // what senders are told
mod segments; // how long segments in transit may be
mod vlans; // interfaces with tags
mod bridges; // from member to member
mod vigil; // next hops that cease to answer
mod paths; // several next hops and routing domains, and changes
mod shared; // targets of many learnt routes
mod policies; // rules that come before the routes
mod anything; // random bytes
