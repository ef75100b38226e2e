//! The kernel's routing domains: its VRF devices, each with a table of routes, and the host links that belong to them.

use std::io;

use super::socket::Questions;
use super::wire::{Attributes, Message, Request, flag, kind, nested, number};

/// Attributes of a link (`linux/if_link.h`).
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;
/// Bytes of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
const UP: u32 = 1;
/// Only if there is none of this name (`NLM_F_EXCL`).
const EXCLUSIVE: u16 = 0x200;
const VRF: &[u8] = b"vrf";

/// The number of the VRF device that has a table; one is made, by this name, if there is none.
pub(super) fn device(kernel: &mut Questions, table: u32, name: &str) -> io::Result<u32> {
    let find = |kernel: &mut Questions| -> io::Result<Option<u32>> {
        let all = Request::new(kind::GET_LINK, flag::DUMP, &[0; LINK_HEADER]);
        Ok(kernel.dump(all, |link| device_of(link, table))?.into_iter().next())
    };
    if let Some(index) = find(kernel)? {
        return Ok(index);
    }
    kernel.command(creation(table, name))?;
    // Gone again already: somebody else removes what we make.
    find(kernel)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// Puts a device into the domain of a VRF device, or (0) into the main one.
pub(super) fn enslave(kernel: &mut Questions, index: u32, master: u32) -> io::Result<()> {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(kind::NEW_LINK, flag::ACKNOWLEDGE, &header);
    kernel.command(request.attribute(IFLA_MASTER, &master.to_ne_bytes()))
}

fn creation(table: u32, name: &str) -> Request {
    let data = nested(&[(IFLA_VRF_TABLE, &table.to_ne_bytes())]);
    let info = nested(&[(IFLA_INFO_KIND, VRF), (IFLA_INFO_DATA, &data)]);
    let mut header = [0; LINK_HEADER];
    header[8..12].copy_from_slice(&UP.to_ne_bytes());
    header[12..].copy_from_slice(&UP.to_ne_bytes());
    let request = Request::new(kind::NEW_LINK, flag::ACKNOWLEDGE | flag::CREATE | EXCLUSIVE, &header);
    request.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()).attribute(IFLA_LINKINFO, &info)
}

/// The number of the device that a message describes, if it is the VRF device of a table.
fn device_of(link: &Message<'_>, table: u32) -> Option<u32> {
    let info = value(link.attributes(LINK_HEADER), IFLA_LINKINFO)?;
    let name = value(Attributes(info), IFLA_INFO_KIND)?;
    // With and without the zero at its end: kernels have said both.
    let is_vrf = name.strip_suffix(&[0]).unwrap_or(name) == VRF;
    let has = number(value(Attributes(value(Attributes(info), IFLA_INFO_DATA)?), IFLA_VRF_TABLE)?, 0)?;
    number(link.body, 4).filter(|_| is_vrf && has == table)
}

fn value(mut all: Attributes<'_>, wanted: u16) -> Option<&[u8]> {
    all.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::super::wire::Messages;
    use super::*;

    /// A link as the kernel describes it: its number, and what it is.
    fn link(index: u32, kind_of: &[u8], data: &[u8]) -> Vec<u8> {
        let mut header = [0; LINK_HEADER];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let info = nested(&[(IFLA_INFO_KIND, kind_of), (IFLA_INFO_DATA, data)]);
        let link = Request::new(kind::NEW_LINK, 0, &header).attribute(IFLA_IFNAME, b"some\0");
        link.attribute(IFLA_LINKINFO, &info).numbered(1)
    }

    #[test]
    fn the_device_of_a_table_is_found_among_others() {
        let table = |number: u32| nested(&[(IFLA_VRF_TABLE, &number.to_ne_bytes())]);
        let links = [
            link(3, b"veth\0", &[]),
            // A bridge's first attribute of its own is a number too.
            link(4, b"bridge\0", &table(100)),
            link(5, b"vrf\0", &table(200)),
            link(6, b"vrf\0", &table(100)),
            link(7, b"vrf", &table(300)),
        ]
        .concat();
        let find = |table| Messages(&links).find_map(|link| device_of(&link, table));
        assert_eq!([100, 200, 300, 400].map(find), [Some(6), Some(5), Some(7), None]);
    }

    #[test]
    fn what_is_made_is_what_is_looked_for() {
        let mut bytes = creation(1000, "red").numbered(1);
        // The kernel gives it a number.
        bytes[20..24].copy_from_slice(&9u32.to_ne_bytes());
        let link = Messages(&bytes).next().unwrap();
        assert_eq!((device_of(&link, 1000), device_of(&link, 1)), (Some(9), None));
        assert_eq!(link.attributes(LINK_HEADER).next(), Some((IFLA_IFNAME, &b"red\0"[..])));
    }
}
