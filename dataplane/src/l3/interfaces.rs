//! What a specification says of interfaces, by their numbers.

use super::{
    advertise::Advertise,
    spec::{BuildError, InterfaceSpec, Spec},
};
use crate::{
    l2::{Interface, table::link_local_of},
    meta::{InterfaceId, VrfId},
};

/// Most routing domains beside the main one.
const MAX_VRFS: usize = 4095;

/// What each interface advertises, by index.
pub(super) fn advertise_by_interface(interfaces: &[InterfaceSpec]) -> Box<[Option<Advertise>]> {
    let count = interfaces.iter().map(|interface| interface.id.index() + 1).max().unwrap_or(0);
    let mut advertise = vec![None; count];
    for interface in interfaces {
        advertise[interface.id.index()].clone_from(&interface.advertise);
    }
    advertise.into()
}

/// What each interface asks for, by index; nothing when none differs from the default.
pub(super) fn where_set<T: Copy + Default + PartialEq>(
    interfaces: &[InterfaceSpec],
    asked: fn(&InterfaceSpec) -> T,
) -> Box<[T]> {
    let asking = || interfaces.iter().filter(|interface| asked(interface) != T::default());
    let count = asking().map(|interface| interface.id.index() + 1).max().unwrap_or(0);
    let mut by_index = vec![T::default(); count];
    for interface in asking() {
        by_index[interface.id.index()] = asked(interface);
    }
    by_index.into()
}

/// Interfaces by index; an index in between that is not used is an interface without addresses.
pub(super) fn link_interfaces(interfaces: &[InterfaceSpec]) -> Result<Vec<Interface>, BuildError> {
    let mut by_index: Vec<Interface> = Vec::new();
    for interface in interfaces {
        let at = interface.id.index();
        if interface.id.index() >= InterfaceId::LIMIT || is_known(&by_index, interface.id) {
            return Err(BuildError::BadInterface(interface.id));
        }
        if by_index.len() <= at {
            by_index.resize(at + 1, Interface::absent());
        }
        by_index[at] = Interface {
            name: interface.name.clone(),
            link: interface.link,
            mac: interface.mac,
            mtu: interface.mtu,
            v4: interface.v4.clone(),
            v6: interface.v6.clone(),
            link_local: link_local_of(interface.mac),
            presence: interface.presence.clone(),
        };
    }
    Ok(by_index)
}

pub(super) fn is_known(interfaces: &[Interface], interface: InterfaceId) -> bool {
    interfaces.get(interface.index()).is_some_and(|interface| interface.mtu != 0)
}

/// The domain of each interface.
pub(super) fn vrf_of(spec: &Spec, interfaces: &[Interface]) -> Result<Box<[VrfId]>, BuildError> {
    let mut vrf_of = vec![VrfId::MAIN; interfaces.len()];
    for (at, vrf) in spec.vrfs.iter().enumerate().take(MAX_VRFS) {
        for interface in &vrf.interfaces {
            if !is_known(interfaces, *interface) {
                return Err(BuildError::UnknownInterface(*interface));
            }
            if vrf_of[interface.index()] != VrfId::MAIN {
                return Err(BuildError::BadInterface(*interface));
            }
            vrf_of[interface.index()] = VrfId(at as u16 + 1);
        }
    }
    if spec.vrfs.len() > MAX_VRFS { Err(BuildError::TooManyVrfs) } else { Ok(vrf_of.into()) }
}
